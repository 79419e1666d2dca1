"""dns_record: one record set of a zone, or single values in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from engine.connections import Site
from engine.connections.records import TYPES, canonical, host, label_of, spf_problem
from engine.contract import Change, Diff, Fault, Handover, Includes, Outlook, Rejected, State, Unknown, Waiting, Want
from engine.modules._record_set import RecordSet, held, primary, texts, ttl_problem
from engine.modules.base import Module, Reading


@dataclass(frozen=True, kw_only=True)
class DnsRecord(RecordSet):
    """Keep a record set exactly as written, or keep single values in it.

    `values` owns the whole set: a value found in the zone but not here is removed. `includes` owns single values and
    leaves all others, and the TTL they share, as they are. It is done when all authoritative servers say so. Where a
    person enters the records, a value entered under the zone's name twice is found and told (B-14).
    """

    zone: Annotated[str, "Zone apex, as in contoso.com."]
    name: Annotated[str, "Label below the apex; @ is the apex itself."] = "@"
    type: Annotated[Literal["MX", "TXT", "CNAME", "SRV", "A", "AAAA"], "Record type."]
    values: Annotated[tuple[str, ...], "All record data, in zone-file form; TXT without quotes."] = ()
    includes: Annotated[tuple[str, ...], "Values that must be there beside others."] = ()
    ttl: Annotated[int, "Seconds. With `includes`: only for a set that does not exist yet."] = 3600
    state: Annotated[Literal["present", "absent"], "Whether the record set should exist."] = "present"

    def record(self) -> tuple[str, str, str]:
        zone, name = host(self.zone), self.name.strip()
        label = label_of(name, zone) if name.endswith(".") else name.lower()
        if f"{label}." == zone or f"{label}.".endswith(f".{zone}"):
            raise ValueError(f"{name} is a whole name; write the label below {self.zone}, or end it with a dot")
        if label != "@":
            label = host(label).rstrip(".")
        return zone.rstrip("."), label, self.type

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.state == "present" and bool(self.values) == bool(self.includes):
            yield "values: give either values (the whole set) or includes (single values)"
        if self.state == "absent" and (self.values or self.includes):
            yield "state: absent removes the whole record set; it takes neither values nor includes"
        if self.type not in TYPES:
            yield f"type: one of {', '.join(TYPES)}"
        for field in ("values", "includes"):
            for value in getattr(self, field):
                try:
                    canonical(self.type, value)
                except ValueError as error:
                    yield f"{field}: {error}"
                if self.type == "TXT" and value[:1] == '"':
                    yield f"{field}: TXT is written without quotes, in one piece"
        if self.type == "CNAME" and self.name == "@":
            yield "name: a CNAME cannot stand at the apex of a zone (RFC 1034, section 3.6.2)"
        if self.type == "CNAME" and len(self.values or self.includes) > 1:
            yield "values: a name has one CNAME (RFC 2181, section 10.1)"
        wrong = spf_problem(self.values or self.includes) if self.type == "TXT" else ""
        if wrong:
            yield f"values: {wrong}"
        if bad := ttl_problem(self.ttl, "ttl"):
            yield bad

    def want(self) -> Want | None:
        if self.state == "absent":
            return None
        if self.includes:
            return {"values": Includes(self._canonical(self.includes))}
        return {"ttl": self.ttl, "values": self._canonical(self.values)}

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        found = dict(super().read_many(site, modules))
        if site.dns.by_hand:
            for module in modules:
                if isinstance(module, DnsRecord) and (misplaced := module._misplaced(site, found[module.key()])):
                    state = found[module.key()]
                    there = state if isinstance(state, Mapping) else _NOTHING
                    found[module.key()] = {**there, "misplaced": misplaced}
        return found

    def _misplaced(self, site: Site, found: Reading) -> str:
        """Where a missing value stands by mistake: hosts' pages add the zone's name to the label by themselves."""
        there = texts(found.get("values")) if isinstance(found, Mapping) else ()
        missing = set(self._canonical(self.includes)) - set(there)
        if isinstance(found, Unknown) or not missing:
            return ""
        zone, label, kind = self.record()
        twice = zone if label == "@" else f"{label}.{zone}"
        answer = site.dns.record_sets([(zone, twice, kind)])[zone, twice, kind]
        wrong = not isinstance(answer, Fault) and missing & set(answer.values)
        return f"{twice}.{zone}" if wrong else ""

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is not None and state.get("misplaced"):
            zone, label, _ = self.record()
            return Waiting(f"the record stands at {state['misplaced']}: enter it with the label "
                           f"{label}, for the host adds {zone} by itself, and take the other away")
        return super().outlook(state, diff)

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        zone, label, kind = self.record()
        if self.state == "absent":
            return site.dns.delete(zone, label, kind, held(diff))
        if not self.includes:
            return site.dns.replace(zone, label, kind, self._canonical(self.values), self.ttl, held(diff))
        values = self._canonical(self.includes)
        there = texts((diff.before or {}).get("values"))
        wrong = spf_problem(tuple(dict.fromkeys((*there, *values)))) if kind == "TXT" else ""
        if wrong and not spf_problem(there):
            raise Rejected("dns", f"{zone} {label} would get {wrong}",
                           remedy="merge the policies into one and own it with `values`")
        if kind == "MX" and there and _first(values) <= _first(there):
            raise Rejected("dns", f"{values[0]} would come before {min(there, key=_rank)}, which takes the mail now",
                           remedy="give it a greater number, as the tenant shows it (B-14)")
        return site.dns.add_values(zone, label, kind, values, self.ttl)

    def restored(self, before: State | None, state: State | None) -> Want | None:
        """With `includes` only what we added goes: the values of others, and those that were there before, stay."""
        if not self.includes:
            return super().restored(before, state)
        there = texts((primary(state) or {}).get("values"))
        left = tuple(each for each in there if each not in self._added(before))
        return {"values": left} if left else None

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        if not self.includes:
            return super().restore(site, diff, before)
        return site.dns.remove_values(*self.record(), self._added(before))

    def changed_since(self, before: State | None, left: State | None, state: State | None) -> tuple[Change, ...]:
        """Other people's values beside ours are no change of ours."""
        return () if self.includes else super().changed_since(before, left, state)

    def _added(self, before: State | None) -> tuple[str, ...]:
        held_before = texts((primary(before) or {}).get("values"))
        return tuple(each for each in self._canonical(self.includes) if each not in held_before)

    def _canonical(self, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({canonical(self.type, value) for value in values}))


#: A record set that is not there, as a state.
_NOTHING: State = {"ttl": None, "values": (), "agree": True}


def _rank(value: str) -> int:
    """An MX value's preference: the least is tried first (RFC 5321, section 5.1)."""
    return int(value.split()[0])


def _first(values: Sequence[str]) -> int:
    return min(map(_rank, values))
