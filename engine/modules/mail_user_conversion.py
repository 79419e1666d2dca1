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
from engine.contract import (
    Change,
    Diff,
    Fault,
    Handover,
    Includes,
    Plain,
    Rejected,
    State,
    Unknown,
    Want,
    difference,
)
from engine.modules import _mail_user
from engine.modules._recipient import OnRecipient
from engine.modules.base import Effect, Module, Reading, Reads, Undo

#: What a directory answers that does not take all of a conversion in one request (RFC 4511, appendix A).
_NOT_TOGETHER = frozenset({"unwillingToPerform", "objectClassViolation", "constraintViolation", "other"})


@dataclass(frozen=True, kw_only=True)
class MailUserConversion(OnRecipient):
    """Turn a mailbox into a mail user in one atomic change of its directory object (S-27 to S-32).

    targetAddress is the cloud mailbox's, whose addresses become proxies beside all that were there; the source's and
    the cloud's legacyExchangeDN become x500 proxies, so that replies to old mail work; msExchMailboxGuid is the cloud
    mailbox's; mail, legacyExchangeDN and the one primary address stay; address policies are off. Where the directory
    does not take all of it at once, the addresses are written first, and the next run finishes what was interrupted.

    Every attribute it touches is in the field `saved` (base64) before the act, and `object` is the objectGUID by which
    an undo finds it again. The source mailbox is disconnected by it, and deleted when its retention ends.
    """

    address: Annotated[str, "Primary address of the mailbox."]
    routing_address: Annotated[str, "Address of the cloud mailbox in the tenant's own domain."]
    cloud_legacy_dn: Annotated[str, "legacyExchangeDN of the cloud mailbox."]
    cloud_guid: Annotated[str, "ExchangeGuid of the cloud mailbox."]
    cloud_addresses: Annotated[tuple[str, ...], "All SMTP addresses of the cloud mailbox."] = ()
    object: Annotated[str, "objectGUID of the mailbox's object, by which it is found while it has no address."] = ""

    family: ClassVar[str] = "conversion"
    public: ClassVar[frozenset[str]] = frozenset({
        "dn", "guid", "legacy_dn", "mail", "policies_off", "primary", "proxies", "recipient", "replies_work", "saved",
        "target_address", "usn", "object"}) | {*SET, *REMOVED}
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "compensate"
    reads: ClassVar[Reads] = "each"
    goes_on: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("WriteProperty on the recipients' mail attributes",)

    def key(self) -> str:
        return f"conversion/{self.address.lower()}"

    def problems(self) -> Iterator[str]:
        if "@" not in self.routing_address:
            yield "routing_address: an SMTP address"
        if self.routing_address.lower() == self.address.lower():
            yield "routing_address: the mailbox's own address; mail would go round in a circle (S-30)"
        if not self.cloud_legacy_dn.startswith("/"):
            yield "cloud_legacy_dn: a legacyExchangeDN, as in /o=ExchangeLabs/ou=…"
        try:
            UUID(self.cloud_guid)
        except ValueError:
            yield "cloud_guid: a GUID, as in 0f8fad5b-d9cb-469f-a165-70867728950e"

    def want(self) -> Want:
        return {"recipient": "mail_user", "target_address": target(self.routing_address),
                "guid": str(UUID(self.cloud_guid)), "replies_work": True, "primary": (self.address.lower(),),
                "policies_off": True, "proxies": Includes(self._proxies())}

    def remaining(self, origin: State, state: State | None) -> Diff | None:
        """S-32: all five attributes, with every address and the legacyExchangeDN that it had before us."""
        had = origin["proxies"]
        assert isinstance(had, tuple)
        cloud = (f"smtp:{each.lower()}" for each in self.cloud_addresses)
        proxies = {*self._proxies(), *cloud, *map(str, had), _folded(f"x500:{origin['legacy_dn']}")}
        return difference({**self.want(), "proxies": Includes(tuple(sorted(proxies))), "mail": origin["mail"],
                           "legacy_dn": origin["legacy_dn"]}, state)

    def _proxies(self) -> tuple[str, ...]:
        return f"smtp:{self.routing_address.lower()}", _folded(f"x500:{self.cloud_legacy_dn}")

    def _target(self) -> _mail_user.Target:
        return _mail_user.Target(self.routing_address.lower(), tuple(map(str.lower, self.cloud_addresses)),
                                 self.cloud_legacy_dn, UUID(self.cloud_guid))

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        """One search for many, with every attribute that is to be saved."""
        addresses = {module.key(): module.key().partition("/")[2] for module in modules}
        objects = {module.address.lower(): module.object for module in modules
                   if isinstance(module, MailUserConversion) and module.object}
        found = site.directory.saved(addresses.values(), objects)
        answers: dict[str, Reading] = {}
        for key, address in addresses.items():
            one = found.get(address)
            answers[key] = Unknown.of(one) if isinstance(one, Fault) else None if one is None else _state(*one)
        return answers

    def by_hand(self, site: Site) -> bool:
        return bool(site.directory.conversion == "script")

    def handover_group(self) -> str:
        return "conversion"

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        """One atomic change; where the directory does not take it so, two: first the addresses, then the mailbox.

        By script, a person's cmdlets come first; what these do not set is written when the object is a mail user.
        """
        assert diff.before is not None
        now = _opened(diff.before["saved"])
        was = diff.origin or diff.before
        origin = _opened(was["saved"])
        primary = self.address.lower()
        if self.routing_address.lower() in (primary, str(was["mail"]).lower()):
            raise Rejected("directory", f"{self.address} would be forwarded to itself: mail would go round in a circle",
                           remedy="give the cloud mailbox's address at the tenant's own domain")
        first = _mail_user.to_reach(origin, now, primary, self._target())
        then = _mail_user.to_convert(origin, now, self._target())
        self._check_twins(site, str(diff.before["object"]), first)
        dn = str(diff.before["dn"])
        if self.by_hand(site) and diff.before["recipient"] != "mail_user":
            return _mail_user.script(dn, site.directory.host, str(diff.before["recipient"]), origin, now,
                                     self.address.lower(), self._target())
        try:
            site.directory.modify(dn, (*first, *then))
        except Rejected as fault:
            if fault.code not in _NOT_TOGETHER or not first or not then:
                raise
            site.directory.modify(dn, first)
            site.directory.modify(dn, then)
        return None

    def _check_twins(self, site: Site, own: str, changes: Sequence[Modification]) -> None:
        """S-28: a directory does not keep two objects from having one address; nobody then knows whose mail it is."""
        added = [each.decode("utf-8", "replace") for change in changes if change.attribute == "proxyAddresses"
                 for each in change.values]
        for proxy, holders in sorted(site.directory.holders(added).items()):
            other = next((dn for guid, dn in holders if guid != own), None)
            if other is not None:
                raise Rejected("directory", f"{proxy} belongs to {other} as well",
                               remedy="take the address from one of them, then retry")

    def restore_diff(self, before: State | None, state: State | None) -> Diff | None:
        """Attribute by attribute: every one that the conversion touches has its saved values, byte for byte."""
        if before is None or state is None:
            return Diff("create", (), None) if before is not None else None
        then, now = before["saved"], state["saved"]
        assert isinstance(then, Mapping) and isinstance(now, Mapping)
        changes = tuple(Change(name, _shown(now.get(name)), _shown(then.get(name)))
                        for name in (*SET, *REMOVED) if not _same(now.get(name), then.get(name)))
        return Diff("change", changes, state) if changes else None

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        """By objectGUID, for the object may have been moved or renamed; on the one domain controller.

        By script, Connect-Mailbox comes first; whatever it leaves otherwise than it was saved is written after it.
        """
        assert before is not None
        dn, now = site.directory.object(str(before["object"]))
        if self.by_hand(site) and "homeMDB" not in now:
            return _mail_user.script_back(dn, site.directory.host, self.address.lower(), _opened(before["saved"]), now)
        site.directory.modify(dn, _mail_user.to_restore(_opened(before["saved"])))
        return None

    def changed_since(self, before: State | None, left: State | None, state: State | None) -> tuple[Change, ...]:
        if before is None or left is None or state is None:
            return ()
        then, ours, now = before["saved"], left["saved"], state["saved"]
        assert isinstance(then, Mapping) and isinstance(ours, Mapping) and isinstance(now, Mapping)
        return tuple(Change(name, _shown(ours.get(name)), _shown(now.get(name))) for name in (*SET, *REMOVED)
                     if not _same(now.get(name), ours.get(name)) and not _same(now.get(name), then.get(name)))

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        """S-27: the object and the database of its mailbox must be there."""
        if before is None:
            return "nothing of it was saved"
        if state is None:
            return f"the directory has no object with the address {self.address} any more"
        home = _opened(before["saved"]).get("homeMDB", (b"",))[0].decode("utf-8", "replace")
        return "" if not home or site.directory.exists(home) else f"its database {home} is gone"

    def loses(self, before: State | None, state: State | None) -> Sequence[str]:
        return ("mail that arrived in the cloud meanwhile is not in the source mailbox",
                "the user needs the old Outlook profile again")


def _state(found: SourceRecipient, attributes: Attributes) -> dict[str, Any]:
    proxies = tuple(sorted(map(_folded, found.proxies)))
    return {
        "recipient": "mailbox" if found.is_mailbox else "mail_user" if found.target_address else "user",
        "target_address": found.target_address, "mail": found.mail, "legacy_dn": found.legacy_dn,
        "guid": found.mailbox_guid, "proxies": proxies, "dn": found.dn, "object": found.guid, "usn": found.usn,
        "replies_work": _folded(f"x500:{found.legacy_dn}") in proxies,
        "primary": tuple(sorted(each[5:].lower() for each in found.proxies if each.startswith("SMTP:"))),
        "policies_off": any(_mail_user.POLICIES_EXCLUDED in each.upper()
                            for each in attributes.get("msExchPoliciesExcluded", ())),
        "saved": {name: tuple(base64.b64encode(value).decode() for value in values)
                  for name, values in sorted(attributes.items())},
    }


def _opened(saved: Any) -> dict[str, tuple[bytes, ...]]:
    return {name: tuple(base64.b64decode(value) for value in values) for name, values in saved.items()}


def _same(one: Any, other: Any) -> bool:
    """The values of an attribute are a set (RFC 4511, section 4.1.7)."""
    return sorted(one or ()) == sorted(other or ())


def _shown(values: Any) -> Plain:
    """Saved values as a person reads them; what is no text is named by its length."""
    found = []
    for value in values or ():
        data = base64.b64decode(value)
        text = data.decode("utf-8", "replace")
        found.append(text if text.isprintable() else f"({len(data)} bytes)")
    return tuple(found) or None


def _folded(proxy: str) -> str:
    """A proxy address as the directory compares it; which one is the primary says `mail`."""
    return proxy.lower()
