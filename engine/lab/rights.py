"""Who may open which mailbox of the source, and write where: security descriptors in the directory.

`prepare` gives the migration account what a well-prepared organisation has given it, or less, as "preparation" of the
organisation file says; the management shell's Add-… cmdlets give the rest.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from engine.lab.directory import Directory, DirectoryObject
from engine.lab.security import (
    CONTROL_ACCESS,
    FULL_ACCESS,
    FULL_CONTROL,
    RECEIVE_AS,
    SELF,
    SYSTEM,
    TARGET_ADDRESS,
    WRITE_PROPERTY,
    Ace,
    descriptor,
    sid_bytes,
)

MAILBOX, OBJECT = "msExchMailboxSecurityDescriptor", "nTSecurityDescriptor"
#: How the account may open mailboxes. denied: by an entry that a person has set; domain_admins: as a member of them.
WAYS = ("full_access", "receive_as", "domain_admins", "denied", "none")


class Rights:
    """Entries of access lists by object and attribute; what they come to is written into the directory."""

    def __init__(self, directory: Directory, account: DirectoryObject, seed: int) -> None:
        drawn = random.Random(f"{seed} security identifiers")
        self._directory = directory
        self._domain = "S-1-5-21-" + "-".join(str(drawn.randrange(10**9, 4 * 10**9)) for _ in range(3))
        self.account = f"{self._domain}-1104"
        self.admins = f"{self._domain}-512"
        self._aces: dict[tuple[str, str], list[Ace]] = {}
        self._account = account
        directory.put(account, "objectSid", (sid_bytes(self.account),))
        self._groups([])

    def prepare(self, mailboxes: Iterable[DirectoryObject], databases: Iterable[str], way: str, *,
                forwarding: bool, protected: Iterable[DirectoryObject]) -> None:
        """ValueError for a way that is not known."""
        if way not in WAYS:
            raise ValueError(f"rights: one of {', '.join(WAYS)}")
        if way == "domain_admins":
            self._groups([self.admins])
        for dn in databases:
            entry = self._directory.get(dn)
            assert entry is not None
            self._add(entry, OBJECT, Ace(SYSTEM, FULL_CONTROL), *(
                (Ace(self.account, CONTROL_ACCESS, RECEIVE_AS),) if way == "receive_as" else ()))
        hidden = set(map(id, protected))
        for entry in mailboxes:
            own = {"full_access": (Ace(self.account, FULL_ACCESS),),
                   "denied": (Ace(self.account, FULL_ACCESS), Ace(self.account, FULL_ACCESS, deny=True))}.get(way, ())
            self._add(entry, MAILBOX, Ace(SELF, FULL_ACCESS), *own)
            safe = id(entry) in hidden
            if safe:
                self._directory.put(entry, "adminCount", (b"1",))
            self._add(entry, OBJECT, Ace(SYSTEM, FULL_CONTROL), Ace(self.admins, FULL_CONTROL, inherited=not safe), *(
                (Ace(self.account, WRITE_PROPERTY, TARGET_ADDRESS),) if forwarding and not safe else ()))

    def give(self, entry: DirectoryObject, attribute: str, mask: int, kind: object = None) -> None:
        """As Add-MailboxPermission and Add-ADPermission do: an explicit entry that allows."""
        assert kind is None or kind in (RECEIVE_AS, TARGET_ADDRESS)
        self._add(entry, attribute, Ace(self.account, mask, kind))  # type: ignore[arg-type]

    def take(self, entry: DirectoryObject, attribute: str, mask: int, kind: object = None) -> None:
        """As Remove-MailboxPermission and Remove-ADPermission do: exactly that entry, where it is."""
        gone = Ace(self.account, mask, kind)  # type: ignore[arg-type]
        kept = self._aces[entry.dn, attribute] = [
            each for each in self._aces.get((entry.dn, attribute), []) if each != gone]
        self._directory.put(entry, attribute, (descriptor(kept),))

    def _groups(self, more: Iterable[str]) -> None:
        self._directory.put(self._account, "tokenGroups", tuple(map(sid_bytes, (
            f"{self._domain}-513", "S-1-5-32-545", *more))))

    def _add(self, entry: DirectoryObject, attribute: str, *aces: Ace) -> None:
        kept = self._aces.setdefault((entry.dn, attribute), [])
        kept += [each for each in aces if each not in kept]
        self._directory.put(entry, attribute, (descriptor(kept),))
