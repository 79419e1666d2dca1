"""mail_user_conversion: a copied source mailbox becomes a mail user that points to the cloud."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar
from uuid import UUID

from engine.connections import Site
from engine.connections.directory_objects import REMOVED, SET, Attributes, Modification, SourceRecipient, target
from engine.contract import Diff, Failing, Fault, Includes, Outlook, Rejected, State, Unknown, Want
from engine.modules.base import Effect, Module, Reading, Reads, Undo

#: Stops address policies from writing over what we write ("Convert Exchange 2007 mailboxes": policies excluded).
POLICIES_EXCLUDED = b"{26491CFC-9E50-4857-861B-0CB8DF22B5D7}"
#: msExchRecipientTypeDetails and msExchRecipientDisplayType of a mail user; absent from Exchange 2003's schema.
MAIL_USER_TYPES = {"msExchRecipientTypeDetails": b"128", "msExchRecipientDisplayType": b"6"}


@dataclass(frozen=True, kw_only=True)
class MailUserConversion(Module):
    """Turn a mailbox into a mail user in one atomic change of its directory object (S-27 to S-32).

    targetAddress and the routing proxy point to the cloud mailbox; the source's and the cloud's legacyExchangeDN become
    x500 proxies, so that replies to old mail work; msExchMailboxGuid is the cloud mailbox's; mail, legacyExchangeDN and
    all other addresses stay. Every attribute it touches is in the field `saved` (base64) before the act, and `object`
    is the objectGUID by which an undo finds it again. The source mailbox is disconnected by it, and deleted when its
    retention ends.
    """

    address: Annotated[str, "Primary address of the mailbox."]
    routing_address: Annotated[str, "Address of the cloud mailbox in the tenant's own domain."]
    cloud_legacy_dn: Annotated[str, "legacyExchangeDN of the cloud mailbox."]
    cloud_guid: Annotated[str, "ExchangeGuid of the cloud mailbox."]

    family: ClassVar[str] = "conversion"
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "compensate"
    reads: ClassVar[Reads] = "each"
    settles_within: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("WriteProperty on the recipients' mail attributes",)

    def key(self) -> str:
        return f"conversion/{self.address.lower()}"

    def problems(self) -> Iterator[str]:
        if "@" not in self.routing_address:
            yield "routing_address: an SMTP address"
        if not self.cloud_legacy_dn.startswith("/"):
            yield "cloud_legacy_dn: a legacyExchangeDN, as in /o=ExchangeLabs/ou=…"
        try:
            UUID(self.cloud_guid)
        except ValueError:
            yield "cloud_guid: a GUID, as in 0f8fad5b-d9cb-469f-a165-70867728950e"

    def want(self) -> Want:
        return {"recipient": "mail_user", "target_address": target(self.routing_address),
                "guid": str(UUID(self.cloud_guid)), "replies_work": True,
                "proxies": Includes(tuple(sorted(map(_folded, self._proxies()))))}

    def _proxies(self) -> tuple[str, ...]:
        return f"smtp:{self.routing_address.lower()}", f"x500:{self.cloud_legacy_dn}"

    def read(self, site: Site) -> State | None:
        found = self.read_many(site, [self])[self.key()]
        if isinstance(found, Unknown):
            raise Rejected("directory", found.reason)
        return found

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        """One search for many, with every attribute that is to be saved."""
        addresses = {module.key(): module.key().partition("/")[2] for module in modules}
        found = site.directory.saved(addresses.values())
        answers: dict[str, Reading] = {}
        for key, address in addresses.items():
            one = found.get(address)
            answers[key] = Unknown(str(one)) if isinstance(one, Fault) else None if one is None else _state(*one)
        return answers

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Failing(f"the directory has no recipient {self.address}", "check the inventory's addresses")
        return None

    def apply(self, site: Site, diff: Diff) -> None:
        assert diff.before is not None
        site.directory.modify(str(diff.before["dn"]), self.changes(_opened(diff.before["saved"])))

    def changes(self, saved: Attributes) -> tuple[Modification, ...]:
        """The one modify that converts the object that has these attributes now."""
        changes = []
        for name in REMOVED:
            if name in saved:
                # The database it was read from: a mailbox that was moved meanwhile is not converted.
                changes.append(Modification("delete", name, saved[name] if name == "homeMDB" else ()))
        changes.append(Modification("replace", "targetAddress", ((target(self.routing_address) or "").encode(),)))
        own = saved.get("legacyExchangeDN", ())
        proxies = [*self._proxies(), *(f"x500:{each.decode('utf-8', 'replace')}" for each in own)]
        there = {_folded(each.decode("utf-8", "replace")) for each in saved.get("proxyAddresses", ())}
        missing = {_folded(each): each.encode() for each in proxies if _folded(each) not in there}
        if missing:
            changes.append(Modification("add", "proxyAddresses", tuple(missing.values())))
        excluded = saved.get("msExchPoliciesExcluded", ())
        if not any(POLICIES_EXCLUDED in each.upper() for each in excluded):
            changes.append(Modification("add", "msExchPoliciesExcluded", (POLICIES_EXCLUDED,)))
        guid = (UUID(self.cloud_guid).bytes_le,)
        if saved.get("msExchMailboxGuid") != guid:
            if "msExchMailboxGuid" in saved:
                changes.append(Modification("delete", "msExchMailboxGuid", saved["msExchMailboxGuid"]))
            changes.append(Modification("add", "msExchMailboxGuid", guid))
        changes += [Modification("replace", name, (value,)) for name, value in MAIL_USER_TYPES.items() if name in saved]
        return tuple(changes)

    @staticmethod
    def restore_changes(saved: Mapping[str, Any]) -> tuple[Modification, ...]:
        """The one modify that writes back what the conversion changed, from the field `saved` of its `before`.

        The attributes it never touches are left as they are by now. The mailbox itself comes back only while the store
        retains it (30 days by default), and while its database exists.
        """
        values = _opened(saved)
        names = [name for name in (*SET, *REMOVED) if name in values or name not in (*REMOVED, *MAIL_USER_TYPES)]
        # The GUID stands before homeMDB, so that the object never names a mailbox it does not own.
        names.sort(key=lambda name: name == "homeMDB")
        return tuple(Modification("replace", name, values.get(name, ())) for name in names)


def _state(found: SourceRecipient, attributes: Attributes) -> dict[str, Any]:
    proxies = tuple(sorted(map(_folded, found.proxies)))
    return {
        "recipient": "mailbox" if found.is_mailbox else "mail_user" if found.target_address else "user",
        "target_address": found.target_address, "mail": found.mail, "legacy_dn": found.legacy_dn,
        "guid": found.mailbox_guid, "proxies": proxies, "dn": found.dn, "object": found.guid, "usn": found.usn,
        "replies_work": _folded(f"x500:{found.legacy_dn}") in proxies,
        "saved": {name: tuple(base64.b64encode(value).decode() for value in values)
                  for name, values in sorted(attributes.items())},
    }


def _opened(saved: Any) -> dict[str, tuple[bytes, ...]]:
    return {name: tuple(base64.b64decode(value) for value in values) for name, values in saved.items()}


def _folded(proxy: str) -> str:
    """A proxy address as the directory compares it; which one is the primary says `mail`."""
    return proxy.lower()
