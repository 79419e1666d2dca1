"""What a forest holds of mail, for an inventory: mailboxes with where they live, contacts, groups, domains, databases.

A survey is read once, before the first plan, and costs a few paged searches for any number of objects. Distinguished
names that one object keeps of another (manager, delegates, members) are answered as addresses; what has none is left
out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from engine.connections.directory_line import Line
from engine.connections.directory_objects import (
    LISTED,
    Attributes,
    ExchangeServer,
    SourceRecipient,
    is_system,
    recipient_of,
    target,
    text,
)
from engine.contract import Rejected

_MAILBOXES = "(&(objectCategory=person)(objectClass=user)(homeMDB=*))"
_OTHERS = "(&(proxyAddresses=*)(|(objectClass=contact)(&(objectCategory=person)(objectClass=user)(!(homeMDB=*)))))"
_GROUPS = "(&(objectClass=group)(proxyAddresses=*))"
#: What has addresses and is none of the above: C-12 wants it named, since it does not move.
_REST = "(&(proxyAddresses=*)(|(objectClass=publicFolder)(objectClass=msExchDynamicDistributionList)))"
_SECURITY = 0x80000000
T = TypeVar("T")


@dataclass(frozen=True)
class Narrowed:
    """Which mailboxes are meant; all conditions hold together. base: a DN; text: an LDAP filter; group: an address."""

    base: str = ""
    text: str = ""
    group: str = ""
    server: str = ""
    database: str = ""
    release: str = ""

    def __bool__(self) -> bool:
        return any((self.base, self.text, self.group, self.server, self.database, self.release))


@dataclass(frozen=True, slots=True)
class SurveyedMailbox:
    """manager, delegates: addresses; country: two letters as the directory has them, "" for none."""

    recipient: SourceRecipient
    database: str
    release: str
    country: str
    manager: str
    delegates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SurveyedContact:
    """A contact, or a user without a mailbox who has an address outside (mail user)."""

    address: str
    name: str
    type: str
    target_address: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SurveyedGroup:
    """members: addresses; nameless: how many members have none. security: also a security principal (C-10)."""

    address: str
    name: str
    security: bool
    aliases: tuple[str, ...]
    members: tuple[str, ...]
    managed_by: str
    nameless: int


@dataclass(frozen=True, slots=True)
class SurveyedDatabase:
    """server: host name of the Exchange server that owns it, "" where the directory does not say."""

    name: str
    server: str


@dataclass(frozen=True)
class Survey:
    """Everything, each by its address or name, sorted. left_out: what has addresses and does not move, with why."""

    mailboxes: Mapping[str, SurveyedMailbox]
    contacts: Mapping[str, SurveyedContact]
    groups: Mapping[str, SurveyedGroup]
    domains: tuple[str, ...]
    servers: tuple[ExchangeServer, ...]
    databases: tuple[SurveyedDatabase, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Surveyor:
    """Reads a survey over one line. servers: by legacyExchangeDN in lower case. Raises Fault."""

    name: str
    line: Line
    servers: Mapping[str, ExchangeServer]
    _addresses: dict[str, str] = field(default_factory=dict)

    def survey(self, narrowed: Narrowed) -> Survey:
        """All of it; `narrowed` concerns the mailboxes only, whose relations are answered all the same."""
        base = self.line.base()
        people = self.line.search(base, _MAILBOXES, (*LISTED, "manager", "publicDelegates", "c"))
        others = self.line.search(base, _OTHERS, (*LISTED, "objectClass"))
        groups = self.line.search(base, _GROUPS, (*LISTED, "groupType", "member", "managedBy"))
        for dn, found in (*people, *others, *groups):
            self._addresses[dn.lower()] = _address(found)
        databases = self._databases()
        left_out = {dn: "an address of the system's" for dn, found in people if is_system(found)}
        left_out |= {dn: "public folders and dynamic groups do not move"
                     for dn, _ in self.line.search(base, _REST, ("cn",))}
        return Survey(
            _unique(self.name, self._mailboxes(people, databases, self._narrowing(narrowed, groups), narrowed)),
            _unique(self.name, _contacts(others)), _unique(self.name, self._groups(groups)), self._domains(),
            tuple(sorted(self.servers.values(), key=str)),
            tuple(sorted(set(databases.values()), key=lambda each: (each.name, each.server))), left_out)

    # ------------------------------------------------------------------------------------------------ mailboxes

    def _narrowing(self, narrowed: Narrowed, groups: list[tuple[str, Attributes]]) -> frozenset[str] | None:
        """The DNs, in lower case, that place, filter and group leave; None: they leave all."""
        chosen: frozenset[str] | None = None
        if narrowed.base or narrowed.text:
            wanted = narrowed.text if narrowed.text.startswith("(") or not narrowed.text else f"({narrowed.text})"
            there = self.line.search(narrowed.base or self.line.base(), f"(&{_MAILBOXES}{wanted})", ("cn",))
            chosen = frozenset(dn.lower() for dn, _ in there)
        if narrowed.group:
            inside = self._inside(narrowed.group.lower(), groups)
            chosen = inside if chosen is None else chosen & inside
        return chosen

    def _inside(self, address: str, groups: list[tuple[str, Attributes]]) -> frozenset[str]:
        """Members of a group, and of the groups in it."""
        members = {dn.lower(): [each.decode("utf-8", "replace").lower() for each in found.get("member", ())]
                   for dn, found in groups}
        start = [dn for dn, found in groups if _address(found) == address]
        if not start:
            raise Rejected(self.name, f"the directory has no group {address}",
                           remedy="name a group by its primary address")
        seen: set[str] = set()
        open_ = [dn.lower() for dn in start]
        while open_:
            dn = open_.pop()
            if dn not in seen:
                seen.add(dn)
                open_ += members.get(dn, ())
        return frozenset(seen)

    def _mailboxes(self, people: list[tuple[str, Attributes]], databases: Mapping[str, SurveyedDatabase],
                   chosen: frozenset[str] | None, narrowed: Narrowed) -> Iterator[tuple[str, str, SurveyedMailbox]]:
        releases = {each.host: each.release for each in self.servers.values()}
        for dn, found in people:
            one = recipient_of(dn, found, self.servers)
            if one is None or (chosen is not None and dn.lower() not in chosen):
                continue
            home = text(found, "homeMDB")
            database = databases[home.lower()].name if home.lower() in databases else _first_value(home)
            release = releases.get(one.server, "")
            meant = ((narrowed.server, one.server), (narrowed.database, database), (narrowed.release, release))
            if any(wanted and wanted.lower() not in (is_.lower(), is_.partition(".")[0].lower())
                   for wanted, is_ in meant):
                continue
            yield one.address, dn, SurveyedMailbox(
                one, database, release, text(found, "c").upper(), self._one(found, "manager"),
                self._all(found, "publicDelegates"))

    def _groups(self, groups: list[tuple[str, Attributes]]) -> Iterator[tuple[str, str, SurveyedGroup]]:
        for dn, found in groups:
            address, members = _address(found), self._all(found, "member")
            if address:
                yield address, dn, SurveyedGroup(
                    address, _name(found), bool(int(text(found, "groupType") or 0) & _SECURITY), _aliases(found),
                    members, self._one(found, "managedBy"), len(found.get("member", ())) - len(members))

    def _all(self, found: Attributes, name: str) -> tuple[str, ...]:
        there = (self._addresses.get(dn.decode("utf-8", "replace").lower(), "") for dn in found.get(name, ()))
        return tuple(sorted(address for address in there if address))

    def _one(self, found: Attributes, name: str) -> str:
        return next(iter(self._all(found, name)), "")

    # -------------------------------------------------------------------------------------------- configuration

    def _databases(self) -> dict[str, SurveyedDatabase]:
        """By DN in lower case. Before Exchange 2010 a database lies below its server, later beside all others."""
        by_dn = {each.dn.lower(): each.host for each in self.servers.values()}
        found = {}
        for dn, one in self.line.search(self._configuration(), "(objectClass=msExchPrivateMDB)",
                                        ("cn", "msExchOwningServer")):
            owner = text(one, "msExchOwningServer").lower()
            above = next((host for place, host in by_dn.items() if place and dn.lower().endswith(f",{place}")), "")
            found[dn.lower()] = SurveyedDatabase(text(one, "cn"), by_dn.get(owner) or above)
        return found

    def _domains(self) -> tuple[str, ...]:
        """Accepted domains (2007 and later), and those of recipient policies (2003): no wildcards, no X.400."""
        found = {text(one, "msExchAcceptedDomainName") for _, one in self.line.search(
            self._configuration(), "(objectClass=msExchAcceptedDomain)", ("msExchAcceptedDomainName",))}
        for _, one in self.line.search(self._configuration(), "(objectClass=msExchRecipientPolicy)", ("gatewayProxy",)):
            for each in one.get("gatewayProxy", ()):
                proxy = each.decode("utf-8", "replace")
                if proxy[:5].lower() == "smtp:":
                    found.add(proxy.rpartition("@")[2])
        return tuple(sorted(name.lower() for name in found if name and "*" not in name))

    def _configuration(self) -> str:
        return self.line.naming_contexts()[1]


def _contacts(others: list[tuple[str, Attributes]]) -> Iterator[tuple[str, str, SurveyedContact]]:
    for dn, found in others:
        address = _address(found)
        outside = (target(text(found, "targetAddress")) or "").partition(":")[2]
        # A user who was a mailbox, and is converted, stays among the mailboxes of the inventory.
        if address and not is_system(found) and not found.get("msExchMailboxGuid"):
            kind = "contact" if b"contact" in found.get("objectClass", ()) else "mail_user"
            yield address, dn, SurveyedContact(address, _name(found), kind, outside, _aliases(found))


def _unique(name: str, found: Iterable[tuple[str, str, T]]) -> dict[str, T]:
    """By address, sorted. Raises Rejected when two objects have one: nobody can say whose mail it is."""
    places: dict[str, str] = {}
    answer: dict[str, T] = {}
    for address, dn, one in found:
        twin = places.setdefault(address, dn)
        if twin != dn:
            raise Rejected(name, f"{address} is the primary address of two objects: {twin} and {dn}",
                           remedy="give one of them another address")
        answer[address] = one
    return dict(sorted(answer.items()))


def _address(found: Attributes) -> str:
    proxies = (each.decode("utf-8", "replace") for each in found.get("proxyAddresses", ()))
    return next((each[5:] for each in proxies if each.startswith("SMTP:")), text(found, "mail")).lower()


def _aliases(found: Attributes) -> tuple[str, ...]:
    proxies = (each.decode("utf-8", "replace") for each in found.get("proxyAddresses", ()))
    return tuple(sorted({each[5:].lower() for each in proxies if each[:5].lower() == "smtp:"} - {_address(found)}))


def _name(found: Attributes) -> str:
    return text(found, "displayName") or text(found, "cn")


def _first_value(dn: str) -> str:
    return re.split(r"(?<!\\),", dn)[0].partition("=")[2].replace("\\", "")
