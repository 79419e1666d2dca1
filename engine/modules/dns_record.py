"""dns_record: one record set of a zone, or single values in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from engine.connections import Site
from engine.connections.records import TYPES, canonical, host, label_of, spf_problem
from engine.contract import Diff, Handover, Includes, Rejected, Want
from engine.modules._record_set import RecordSet, held, texts, ttl_problem


@dataclass(frozen=True, kw_only=True)
class DnsRecord(RecordSet):
    """Keep a record set exactly as written, or keep single values in it.

    `values` owns the whole set: a value found in the zone but not here is removed. `includes` owns single values and
    leaves all others, and the TTL they share, as they are. It is done when all authoritative servers say so.
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
        return site.dns.add_values(zone, label, kind, values, self.ttl)

    def _canonical(self, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({canonical(self.type, value) for value in values}))
