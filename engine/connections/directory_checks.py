"""What the source's directory says about things that must be in order before a copy: voice mail, references to objects
that stay behind, connection points of Autodiscover. One listing each, shared by all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldap3.utils.conv import escape_filter_chars

from engine.connections.directory_objects import Attributes, text

if TYPE_CHECKING:
    from engine.connections import Site

#: Attributes by which one object stands in for, manages or restricts another (C-13).
REFERENCES = ("manager", "publicDelegates", "managedBy", "altRecipient", "authOrig", "unauthOrig", "dLMemSubmitPerms",
              "dLMemRejectPerms")
#: Of groupType (MS-ADTS, section 2.2.12): the group is a security principal.
_SECURITY_ENABLED = 0x8000_0000
#: What marks a connection point as Autodiscover's own (MS-OXDISCO).
_AUTODISCOVER = "77378F46-2C66-4aa9-A6A6-3E7A48B19596"
#: What a cutover moves: mailboxes, mail users, mail contacts and mail-enabled groups (C-12).
_MOVES = ("(|(&(objectCategory=person)(objectClass=user)(|(homeMDB=*)(targetAddress=*)))"
          "(&(objectClass=contact)(targetAddress=*))(&(objectClass=group)(proxyAddresses=*)))")


@dataclass(frozen=True, slots=True)
class Voice:
    """Unified Messaging of one mailbox: distinguished names of policy and dial plan, and its extensions."""

    policy: str
    dial_plan: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Referring:
    """What one object that moves refers to: attribute → distinguished names, as stored."""

    dn: str
    values: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class ConnectionPoint:
    """Where one Client Access server sends Outlook inside the company; uri "": nowhere."""

    dn: str
    server: str
    uri: str


def voices(site: Site) -> Mapping[str, Voice]:
    """The mailboxes that have Unified Messaging, by primary address; where the schema lacks it, nobody."""
    def load() -> Mapping[str, Voice]:
        # The first bit is UMEnabled; the others say what the voice mailbox offers.
        found = site.directory.search("(&(objectCategory=person)(msExchUMEnabledFlags:1.2.840.113556.1.4.803:=1))", (
            "mail", "proxyAddresses", "msExchUMTemplateLink", "msExchUMRecipientDialPlanLink"))
        return {_primary(each): Voice(text(each, "msExchUMTemplateLink"), text(each, "msExchUMRecipientDialPlanLink"),
                                      _extensions(each)) for _, each in found}
    return site.listing("directory", "voice", load)


def references(site: Site) -> tuple[Mapping[str, Referring], Mapping[str, str]]:
    """Every object that moves, by primary address, with what it refers to; and the address of each by its DN."""
    def load() -> tuple[Mapping[str, Referring], Mapping[str, str]]:
        found = site.directory.search(_MOVES, ("mail", "proxyAddresses", *REFERENCES))
        referring = {_primary(each): Referring(dn, {
            name: tuple(value.decode("utf-8", "replace") for value in each[name])
            for name in REFERENCES if name in each}) for dn, each in found}
        return referring, {dn.lower(): _primary(each) for dn, each in found}
    return site.listing("directory", "references", load)


def security_groups(site: Site) -> Mapping[str, bool]:
    """Every mail-enabled group by primary address: whether it is a security principal too (C-11)."""
    def load() -> Mapping[str, bool]:
        found = site.directory.search("(&(objectClass=group)(proxyAddresses=*))",
                                      ("mail", "proxyAddresses", "groupType"))
        return {_primary(each): bool(int(text(each, "groupType") or 0) & _SECURITY_ENABLED) for _, each in found}
    return site.listing("directory", "security groups", load)


def throttling_policy(site: Site, account: str) -> str | None:
    """The distinguished name of the account's own throttling policy; "" for the default one, None: no such account."""
    short = account.rpartition("\\")[2]
    name = "userPrincipalName" if "@" in short else "sAMAccountName"
    found = site.directory.search(f"(&(objectClass=user)({name}={escape_filter_chars(short)}))", (
        "msExchThrottlingPolicyDN", "cn"))
    return text(found[0][1], "msExchThrottlingPolicyDN") if len(found) == 1 else None


def connection_points(site: Site) -> Mapping[str, ConnectionPoint]:
    """Autodiscover's connection points by server (short name, lower case); Exchange 2003 has none."""
    def load() -> Mapping[str, ConnectionPoint]:
        found = site.directory.search(f"(&(objectClass=serviceConnectionPoint)(keywords={_AUTODISCOVER}))",
                                      ("cn", "serviceDNSName", "serviceBindingInformation"), configuration=True)
        points = [ConnectionPoint(dn, text(each, "cn").lower(), text(each, "serviceBindingInformation"))
                  for dn, each in found]
        return {each.server: each for each in points}
    return site.listing("directory", "connection points", load)


def _extensions(found: Attributes) -> tuple[str, ...]:
    """From the EUM addresses: what stands before the dial plan's context."""
    addresses = (each.decode("utf-8", "replace") for each in found.get("proxyAddresses", ()))
    return tuple(sorted(each[4:].partition(";")[0] for each in addresses if each[:4].upper() == "EUM:"))


def _primary(found: Attributes) -> str:
    proxies = (each.decode("utf-8", "replace") for each in found.get("proxyAddresses", ()))
    return next((each[5:] for each in proxies if each.startswith("SMTP:")), text(found, "mail")).lower()
