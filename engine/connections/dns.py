"""Authoritative DNS: what every server of a zone says, and changes of record sets.

settings: `provider` (rfc2136 | lexicon | by_hand); `servers`, `resolvers` (dns_servers.py); `update` (dns_update.py);
`api`, `options`, `mx` (dns_provider.py). However a zone is kept, it is read from its own servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import dns.name
import dns.rdatatype

from engine.connections.dns_answers import Answer, Edit, Held, Shown, held
from engine.connections.dns_lookup import Asked, ask
from engine.connections.dns_servers import Servers
from engine.connections.records import owner_name, zone_file
from engine.contract import Fault, Handover, Rejected

if TYPE_CHECKING:
    from engine.connections import Site

__all__ = ["Answer", "Dns", "Edit", "Shown", "handover"]

#: How often a single value is added or removed anew when somebody else changes the set at the same moment.
TRIES = 3

#: zone, owner label (`@` for the apex), type
Question: TypeAlias = "tuple[str, str, str]"


class Keeper(Protocol):
    """How the records of a zone are changed. Every method raises Fault."""

    def now(self, zone: str, owner: str, kind: str) -> Held:
        """A record set as it is kept this moment."""
        ...

    def update(self, zone: str, edits: Sequence[Edit]) -> Handover | None:
        """Make each set as its edit says, provided that it is as the edit expects."""
        ...

    def probe(self, zone: str) -> str:
        """How far the way to a change is open, without one."""
        ...


class Dns:
    """The client. Thread-safe. Every method raises Fault."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._site = site
        self.servers = Servers(name, settings)
        self._keeper = _keeper(name, settings, site, self.servers)
        self.by_hand = isinstance(self._keeper, ByHand)

    def close(self) -> None:
        """Nothing stays open between calls."""

    # -------------------------------------------------------------------------------------------------- reads

    def record_set(self, zone: str, owner: str, kind: str) -> Answer:
        """What every authoritative server shows. Unreachable when one of them gave no usable answer: a timeout,
        SERVFAIL, REFUSED or a server that is not responsible leaves it unknown, and never absent."""
        found = self.record_sets([(zone, owner, kind)])[zone, owner, kind]
        if isinstance(found, Fault):
            raise found
        return found

    def record_sets(self, questions: Iterable[Question]) -> Mapping[Question, Answer | Fault]:
        """The same for many at once; each has its answer or its fault. Shared until something is written."""
        known: dict[Question, Answer] = self._site.listing(self._name, "record sets", dict)
        asked = list(dict.fromkeys(questions))
        found: dict[Question, Answer | Fault] = {}
        lookups: list[tuple[Question, str, Asked]] = []
        for question in asked:
            if question in known:
                found[question] = known[question]
                continue
            zone, owner, kind = question
            try:
                name, number = dns.name.from_text(owner_name(owner, zone)), dns.rdatatype.from_text(kind)
                lookups += [(question, server, Asked(*self.servers.place(server), name, number))
                            for server in self.servers.of(zone)]
            except Fault as fault:
                found[question] = fault
        lookups = [each for each in lookups if each[0] not in found]
        shown: dict[Question, list[Shown]] = {}
        for (question, server, wire), reply in zip(lookups, ask([each[2] for each in lookups]), strict=True):
            try:
                there = held(self._name, reply, server, wire, authoritative=True)
                shown.setdefault(question, []).append(Shown(server, tuple(sorted(there.rdatas)), there.ttl))
            except Fault as fault:
                found[question] = fault
        for question, servers in shown.items():
            if question not in found:
                found[question] = known[question] = Answer(tuple(servers))
        return found

    # ------------------------------------------------------------------------------------------------- writes

    def replace(self, zone: str, owner: str, kind: str, values: Sequence[str], ttl: int,
                expected: Sequence[str]) -> Handover | None:
        """Make the record set exactly these values, provided that the primary holds `expected` now."""
        return self.update(zone, [Edit(owner, kind, tuple(values), ttl, tuple(expected))])

    def delete(self, zone: str, owner: str, kind: str, expected: Sequence[str]) -> Handover | None:
        """Take the whole record set away, provided that the primary holds `expected` now."""
        return self.update(zone, [Edit(owner, kind, (), 0, tuple(expected))])

    def add_values(self, zone: str, owner: str, kind: str, values: Sequence[str], ttl: int) -> Handover | None:
        """Single values beside whatever stands there, at the set's own TTL; `ttl` where there is no set yet."""
        return self._single(zone, owner, kind, lambda held: (*held, *(each for each in values if each not in held)),
                            ttl)

    def remove_values(self, zone: str, owner: str, kind: str, values: Sequence[str]) -> Handover | None:
        """Take single values away and leave the others as they are."""
        return self._single(zone, owner, kind, lambda held: tuple(each for each in held if each not in values), 0)

    def _single(self, zone: str, owner: str, kind: str, after: Any, ttl: int) -> Handover | None:
        for left in reversed(range(TRIES)):
            now = self._keeper.now(zone, owner, kind)
            before = tuple(now.rdatas)
            then: tuple[str, ...] = after(before)
            if then == before:
                return None
            if self.by_hand:
                gone = tuple(each for each in before if each not in then)
                added = tuple(each for each in then if each not in before)
                return handover(zone, [Edit(owner, kind, added, now.ttl or ttl, gone)])
            try:
                return self.update(zone, [Edit(owner, kind, then, now.ttl or ttl, before)])
            except Rejected as fault:
                if fault.code != "NXRRSET" or not left:
                    raise
        raise AssertionError("unreachable")

    def update(self, zone: str, edits: Sequence[Edit]) -> Handover | None:
        """All edits of one zone: in one message where the zone takes signed updates, one after the other elsewhere.

        Handover where the zone, or this change of it, is left to a person. Raises Rejected (code NXRRSET) when somebody
        has changed one of the record sets meanwhile. An accepted update may yet have no effect: read afterwards.
        """
        return self._keeper.update(zone, edits)


    def probe(self, zone: str) -> str:
        """What stands between us and a change of the zone, for `doctor`; nothing is changed.

        Every authoritative server answers, and the way to a change is open as far as can be told without one. Once the
        servers agree, what the inventory's resolvers show is told too: they prove nothing, and remember (RFC 2308).
        """
        found = self.record_set(zone, "@", "MX")
        said = [self._keeper.probe(zone)]
        if not found.agree:
            said.append(f"its servers differ: {', '.join(found.lagging)}")
        else:
            said += [f"{resolver} shows other MX: {', '.join(shown) or 'none'}"
                     for resolver, shown in self.servers.resolved(zone, "@", "MX").items() if shown != found.values]
        return "; ".join(said)


class ByHand:
    """A zone whose records a person enters, where its host has no door for programs."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def now(self, zone: str, owner: str, kind: str) -> Held:
        return self._servers.primary_now(zone, owner, kind)

    def update(self, zone: str, edits: Sequence[Edit]) -> Handover:
        return handover(zone, edits)

    def probe(self, zone: str) -> str:
        return f"{zone} is changed by hand"


def _keeper(name: str, settings: Mapping[str, Any], site: Site, servers: Servers) -> Keeper:
    provider = settings.get("provider", "by_hand")
    if provider == "rfc2136":
        from engine.connections.dns_update import SignedUpdates

        return SignedUpdates(name, settings, site, servers)
    if provider == "lexicon":
        from engine.connections.dns_provider import LexiconProvider

        return LexiconProvider(name, settings, site, servers)
    return ByHand(servers)


def handover(zone: str, edits: Sequence[Edit]) -> Handover:
    """Records ready to paste into a zone file or a provider's form."""
    lines = [f"; Zone {zone}"]
    for edit in edits:
        owner = owner_name(edit.owner, zone)
        gone = [value for value in edit.expected if value not in edit.values]
        lines += [f"; remove: {owner} IN {edit.kind} {zone_file(edit.kind, value)}" for value in gone]
        lines += [f"{owner} {edit.ttl} IN {edit.kind} {zone_file(edit.kind, value)}" for value in edit.values]
    return Handover("dns", f"Change DNS records of {zone}", "\n".join(lines) + "\n")
