"""What the migration account may do at the source: open mailboxes, and write targetAddress (B-07, B-08, S-04).

Read from the access lists of databases and mailboxes for the account and all its groups, in pages; kept as one small
record a mailbox. What the store has not taken up yet (it caches rights for up to two hours) cannot be read here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from ldap3.utils.conv import escape_filter_chars

from engine.connections.access_lists import (
    CONTROL_ACCESS,
    FULL_ACCESS,
    PUBLIC_INFORMATION,
    RECEIVE_AS,
    TARGET_ADDRESS,
    WRITE_PROPERTY,
    Decision,
    Entry,
    decide,
    entries,
    sid_text,
)
from engine.connections.directory_objects import Attributes, text
from engine.contract import Rejected

if TYPE_CHECKING:
    from engine.connections import Site

#: The end of the security identifier of a domain's Domain Admins (MS-DTYP, section 2.4.2.4).
_DOMAIN_ADMINS = "-512"
_NAMES = ("mail", "proxyAddresses", "homeMDB", "msExchMailboxSecurityDescriptor", "nTSecurityDescriptor", "adminCount",
          "sAMAccountName")


@dataclass(frozen=True, slots=True)
class MailboxRights:
    """What the account may do with one mailbox.

    full_access  by the mailbox's own list            receive_as  by its database's list
    forwarding   may write targetAddress              protected   an administrator's account (AdminSDHolder):
    administrator  the account is a Domain Admin                  rights given on it are taken back within the hour
    """

    dn: str
    database: str
    full_access: Decision
    receive_as: Decision
    forwarding: Decision
    protected: bool
    administrator: bool

    @property
    def denied(self) -> bool:
        """An entry forbids what another may allow: Microsoft's side is refused, whatever else is given."""
        return "denied" in (self.full_access, self.receive_as)

    @property
    def opens(self) -> bool:
        """The account may open the mailbox, by one of the three ways."""
        return not self.denied and (self.administrator or "allowed" in (self.full_access, self.receive_as))


def rights(site: Site, account: str) -> Mapping[str, MailboxRights]:
    """By primary address in lower case, for every mailbox. Raises Rejected when there is no such account."""
    def load() -> Mapping[str, MailboxRights]:
        who = identities(site, account)
        databases = dict(site.directory.kept(
            "(objectClass=msExchPrivateMDB)", ("nTSecurityDescriptor",),
            lambda dn, found: (dn.lower(), _object(found, who, CONTROL_ACCESS, (RECEIVE_AS,))),
            configuration=True, access_lists=True))
        found = site.directory.kept(
            "(&(objectCategory=person)(objectClass=user)(homeMDB=*))", _NAMES,
            lambda dn, found: (_primary(found), _rights(dn, found, who, databases)), access_lists=True)
        return {address: one for address, one in found if address}
    return site.listing("directory", f"rights of {account.lower()}", load)


def identities(site: Site, account: str) -> frozenset[str]:
    """The security identifiers of an account and of every group it is in, nested ones too."""
    found = _accounts(site, account.rpartition("\\")[2])
    if len(found) != 1 or not found[0][1].get("objectSid"):
        raise Rejected("directory", f"the directory has no account {account}",
                       remedy="correct source_account: DOMAIN\\user, or its user principal name")
    dn, own = found[0]
    # Constructed by the domain controller, for one object at a time (MS-ADTS, section 3.1.1.4.5.19).
    groups = site.directory.search("(objectClass=*)", ("tokenGroups",), base=dn, one=True)
    sids = {*own["objectSid"], *(groups[0][1].get("tokenGroups", ()) if groups else ())}
    # Everyone and Authenticated Users stand in nobody's list of groups.
    return frozenset({*map(sid_text, sids), "S-1-1-0", "S-1-5-11"})


def _accounts(site: Site, name: str) -> list[tuple[str, Attributes]]:
    """By the short name, or the user principal name – which an account has in its domain even where none is written."""
    local, _, domain = name.partition("@")
    asked = f"(userPrincipalName={escape_filter_chars(name)})" if domain else ""
    found = site.directory.search(f"(&(objectClass=user)(|{asked}(sAMAccountName={escape_filter_chars(local)})))",
                                  ("objectSid", "userPrincipalName"))
    if not domain:
        return found
    written = [each for each in found if text(each[1], "userPrincipalName").lower() == name.lower()]
    own = "".join(f",dc={label}" for label in domain.lower().split("."))
    return written or [each for each in found if each[0].lower().endswith(own)]


def _rights(dn: str, found: Attributes, who: Collection[str], databases: Mapping[str, Decision]) -> MailboxRights:
    own = found.get("msExchMailboxSecurityDescriptor")
    database = text(found, "homeMDB")
    return MailboxRights(
        dn=dn, database=database,
        # Before its first sign-in a mailbox has no list of its own, and what is not written allows nothing.
        full_access=decide(_entries(own[0]), who, FULL_ACCESS) if own else "unsaid",
        receive_as=databases.get(database.lower(), "unread"),
        forwarding=_object(found, who, WRITE_PROPERTY, (TARGET_ADDRESS, PUBLIC_INFORMATION)),
        protected=text(found, "adminCount") == "1",
        administrator=any(each.endswith(_DOMAIN_ADMINS) for each in who))


def _object(found: Attributes, who: Collection[str], right: int, kinds: Collection[UUID]) -> Decision:
    """Of the object's own list. Every object has one: where none came, the reader may not see it."""
    values = found.get("nTSecurityDescriptor")
    return decide(_entries(values[0]), who, right, kinds) if values else "unread"


def _entries(descriptor: bytes) -> tuple[Entry, ...] | None:
    try:
        return entries(descriptor)
    except ValueError as error:
        raise Rejected("directory", str(error)) from None


def _primary(found: Attributes) -> str:
    proxies = (each.decode("utf-8", "replace") for each in found.get("proxyAddresses", ()))
    return next((each[5:] for each in proxies if each.startswith("SMTP:")), text(found, "mail")).lower()
