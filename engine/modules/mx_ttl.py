"""mx_ttl: how long the world may keep a domain's MX records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from engine.connections import Site
from engine.contract import AtMost, Diff, Failing, Handover, Outlook, State, Want
from engine.modules._record_set import RecordSet, held, place, ttl_problem


@dataclass(frozen=True, kw_only=True)
class MxTtl(RecordSet):
    """Bound or set the TTL of all MX records of a domain, and keep their values (B-36 to B-39).

    Read from every authoritative server, never from a cache, and the greatest counts. Lower it one full old TTL before
    the switch: register it, and wait with `before.ttl`.
    """

    domain: Annotated[str, "The mail domain."]
    zone: Annotated[str, "The zone it lies in."]
    at_most: Annotated[int | None, "Seconds not to be exceeded (B-36: 3600); a lower TTL is left alone."] = None
    seconds: Annotated[int | None, "Seconds, exactly."] = None

    def record(self) -> tuple[str, str, str]:
        return (*place(self.domain, self.zone), "MX")

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if (self.at_most is None) == (self.seconds is None):
            yield "at_most: give either at_most or seconds"
        for field, value in (("at_most", self.at_most), ("seconds", self.seconds)):
            if value is not None and (bad := ttl_problem(value, field)):
                yield bad

    def want(self) -> Want:
        return {"ttl": AtMost(self.at_most) if self.at_most is not None else self.seconds}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Failing(f"{self.domain} has no MX record whose TTL could be set",
                           "publish the MX record that the source uses, or waive this row")
        return super().outlook(state, diff)

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        zone, label, kind = self.record()
        ttl = self.at_most if self.at_most is not None else self.seconds
        assert ttl is not None
        values = held(diff)
        return site.dns.replace(zone, label, kind, values, ttl, values)
