"""A converted mailbox as attributes: what is written, in which order, and what of it is missing (S-28 to S-32).

Pure: bytes in, modifications out. `origin` are the attributes before our first change, `now` those read just before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from engine.connections.directory_objects import KEPT, REMOVED, SET, Attributes, Modification, Values
from engine.contract import Handover
from engine.modules._powershell import quoted

#: Stops address policies from writing over what we write ("Convert Exchange 2007 mailboxes": policies excluded).
POLICIES_EXCLUDED = b"{26491CFC-9E50-4857-861B-0CB8DF22B5D7}"
#: msExchRecipientTypeDetails and msExchRecipientDisplayType of a mail user; absent from Exchange 2003's schema.
MAIL_USER_TYPES = {"msExchRecipientTypeDetails": b"128", "msExchRecipientDisplayType": b"6"}
#: How Connect-Mailbox is told what it connects, by msExchRecipientTypeDetails.
_KINDS: dict[tuple[bytes, ...], str] = {(b"4",): " -Shared", (b"16",): " -Room", (b"32",): " -Equipment"}
#: Kept attributes that are somebody else's business all the same: they may change while we look away.
_NOT_OURS = frozenset({"userAccountControl", "autoReplyMessage"})


@dataclass(frozen=True, slots=True)
class Target:
    """The cloud mailbox a mail user points to. addresses: all its SMTP addresses, lower case."""

    routing_address: str
    addresses: tuple[str, ...]
    legacy_dn: str
    guid: UUID


def proxies_of(primary: str, origin: Iterable[str], now: Iterable[str], target: Target, own_dn: str) -> tuple[str, ...]:
    """Every address the object had or has, the cloud mailbox's, and both x500: one upper-case SMTP, nothing twice."""
    wanted = [f"SMTP:{primary}", *origin, *now, *(f"smtp:{each}" for each in target.addresses),
              f"smtp:{target.routing_address}", *(f"x500:{each}" for each in (own_dn, target.legacy_dn) if each)]
    found: dict[str, str] = {}
    for each in wanted:
        kind, _, rest = each.partition(":")
        shown = each if kind != "SMTP" or rest.lower() == primary else f"smtp:{rest}"
        found.setdefault(each.lower(), shown)
    return tuple(found.values())


def to_reach(origin: Attributes, now: Attributes, primary: str, target: Target) -> tuple[Modification, ...]:
    """First part: where mail goes on to, and every address under which it arrives. The mailbox is still there."""
    changes = [Modification("replace", "targetAddress", (f"SMTP:{target.routing_address}".encode(),))]
    there = now.get("proxyAddresses", ())
    wanted = proxies_of(primary, _texts(origin.get("proxyAddresses", ())), _texts(there), target,
                        _first(origin, "legacyExchangeDN"))
    if sorted(each for each in there if each.startswith(b"SMTP:")) == [f"SMTP:{primary}".encode()]:
        held = {each.lower() for each in _texts(there)}
        missing = tuple(each.encode() for each in wanted if each.lower() not in held)
        changes += [Modification("add", "proxyAddresses", missing)] if missing else []
    else:
        changes.append(Modification("replace", "proxyAddresses", tuple(each.encode() for each in wanted)))
    if not any(POLICIES_EXCLUDED in each.upper() for each in now.get("msExchPoliciesExcluded", ())):
        changes.append(Modification("add", "msExchPoliciesExcluded", (POLICIES_EXCLUDED,)))
    for name in KEPT:  # other tools take these away, or make them anew
        if name in origin and name not in _NOT_OURS and sorted(now.get(name, ())) != sorted(origin[name]):
            changes.append(Modification("replace", name, origin[name]))
    return tuple(changes)


def to_convert(origin: Attributes, now: Attributes, target: Target) -> tuple[Modification, ...]:
    """Second part: the mailbox is taken from the object, and the GUID is the cloud mailbox's."""
    changes = []
    for name in REMOVED:
        if name in now:
            # The database it was read from: a mailbox that was moved meanwhile is not converted.
            changes.append(Modification("delete", name, now[name] if name == "homeMDB" else ()))
    guid = (target.guid.bytes_le,)
    if now.get("msExchMailboxGuid") != guid:
        if "msExchMailboxGuid" in now:
            changes.append(Modification("delete", "msExchMailboxGuid", now["msExchMailboxGuid"]))
        changes.append(Modification("add", "msExchMailboxGuid", guid))
    changes += [Modification("replace", name, (value,)) for name, value in MAIL_USER_TYPES.items()
                if name in origin and now.get(name) != (value,)]
    return tuple(changes)


def to_restore(saved: Attributes) -> tuple[Modification, ...]:
    """The one modify that writes back what the conversion changed.

    The attributes it never touches are left as they are by now. The mailbox itself comes back only while the store
    retains it (30 days by default), and while its database exists.
    """
    names = [name for name in (*SET, *REMOVED) if name in saved or name not in (*REMOVED, *MAIL_USER_TYPES)]
    # The GUID stands before homeMDB, so that the object never names a mailbox it does not own.
    names.sort(key=lambda name: name == "homeMDB")
    return tuple(Modification("replace", name, saved.get(name, ())) for name in names)


def script(dn: str, controller: str, recipient: str, origin: Attributes, now: Attributes, primary: str,
           target: Target) -> Handover:
    """S-32 as cmdlets, from where the object stands: disable, mail-enable, policy off, addresses; one controller."""
    own, where = quoted(dn), f"-DomainController {quoted(controller)}"
    lines = [f"# {primary}"]
    if recipient == "mailbox":
        lines.append(f"Disable-Mailbox -Identity {own} {where} -Confirm:$false")
    lines.append(f"Enable-MailUser -Identity {own} -ExternalEmailAddress "
                 f"{quoted(f'SMTP:{target.routing_address}')} {where}")
    had, has = (_texts(each.get("proxyAddresses", ())) for each in (origin, now))
    wanted = proxies_of(primary, had, has, target, _first(origin, "legacyExchangeDN"))
    lines.append(f"Set-MailUser -Identity {own} -EmailAddressPolicyEnabled $false "
                 f"-EmailAddresses {','.join(map(quoted, wanted))} "
                 f"-WindowsEmailAddress {quoted(_first(origin, 'mail') or primary)} {where}")
    return Handover("powershell", "Convert mailboxes to mail users", "\n".join([
        "# Exchange Management Shell on an Exchange 2007 server, as Exchange Recipient Administrator.",
        "# All attributes are saved; GUID and legacyExchangeDN are written, and all five verified, by mailmove.",
        *lines]) + "\n", urgent=recipient == "user")


def script_back(dn: str, controller: str, primary: str, saved: Attributes, now: Attributes) -> Handover:
    """The supported way back while the database keeps the mailbox: Connect-Mailbox."""
    own, where = quoted(dn), f"-DomainController {quoted(controller)}"
    lines = [f"# {primary}"]
    if "targetAddress" in now or "mailNickname" in now:
        lines.append(f"Disable-MailUser -Identity {own} {where} -Confirm:$false")
    guid = str(UUID(bytes_le=saved["msExchMailboxGuid"][0]))
    lines.append(f"Connect-Mailbox -Identity {quoted(guid)} -Database {quoted(_first(saved, 'homeMDB'))} "
                 f"-User {own}{_KINDS.get(saved.get('msExchRecipientTypeDetails', ()), '')} {where}")
    return Handover("powershell", "Reconnect mailboxes", "\n".join([
        "# Exchange Management Shell on an Exchange 2007 server, as Exchange Recipient Administrator.",
        "# Whatever is then otherwise than it was saved is written back by mailmove.", *lines]) + "\n",
        urgent="targetAddress" not in now)


def _texts(values: Values) -> list[str]:
    return [each.decode("utf-8", "replace") for each in values]


def _first(found: Attributes, name: str) -> str:
    return found.get(name, (b"",))[0].decode("utf-8", "replace")
