"""autodiscover: clients of a domain find Microsoft 365."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from engine.connections import Site
from engine.connections.records import host
from engine.contract import Diff, Fault, Handover, SameAs, State, Unknown, Want
from engine.modules._record_set import TTL_NEW, held, place, primary, state_of, texts, ttl_problem
from engine.modules._service_record import ServiceRecord, with_services
from engine.modules.base import Module, Reading

#: What "Migrate email using the Exchange cutover method" writes; the tenant's own word counts where it differs.
PAGE_TARGET = "autodiscover.outlook.com."


@dataclass(frozen=True, kw_only=True)
class Autodiscover(ServiceRecord):
    """`autodiscover` of a domain is the CNAME that the tenant demands, and nothing stands beside it (B-49, B-50).

    A, AAAA and `_autodiscover._tcp` SRV records that led clients to the source are removed in the same update; they
    are listed in the field `others` ("label ttl type data") and so kept in `before`. What the company's own
    network sees is `autodiscover_inside`.
    """

    domain: Annotated[str, "The mail domain."]
    zone: Annotated[str, "The zone it lies in."]
    ttl: Annotated[int, "Seconds, for the CNAME that is written."] = 3600

    def record(self) -> tuple[str, str, str]:
        return (*place(self.domain, self.zone, "autodiscover"), "CNAME")

    def mail_domain(self) -> str:
        return host(self.domain).rstrip(".")

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if bad := ttl_problem(self.ttl, "ttl"):
            yield bad

    def want(self) -> Want:
        return {"values": SameAs("service_values"), "others": ()}

    def remark(self, state: State | None) -> str:
        asked = (state or {}).get("service_values")
        if not isinstance(asked, tuple) or not asked or asked == (PAGE_TARGET,):
            return ""
        return f"the tenant asks for {', '.join(map(str, asked))}, Microsoft's page names {PAGE_TARGET}"

    def leftovers(self) -> tuple[tuple[str, str, str], ...]:
        """The record sets that would lead clients elsewhere (MS-OXDISCO, section 3.1.5)."""
        zone, label, _ = self.record()
        _, service = place(self.domain, self.zone, "_autodiscover._tcp")
        return (zone, label, "A"), (zone, label, "AAAA"), (zone, service, "SRV")

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        ours = [module for module in modules if isinstance(module, Autodiscover)]
        answers = cls.zones(site).record_sets([each for one in ours for each in (one.record(), *one.leftovers())])
        return with_services(site, ours, {one.key(): _state(one, answers) for one in ours}, _demand)

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        from engine.connections.dns import Edit

        zone, label, kind = self.record()
        others = _edits(texts((primary(diff.before) or {}).get("others")))
        edits = [Edit(owner, other, (), 0, values) for (owner, other), (_, values) in others.items()]
        target = self.demanded(site, diff, _demand)
        if held(diff) != target:
            edits.append(Edit(label, kind, target, self.ttl, held(diff)))
        return self.zones(site).update(zone, edits)

    def restored(self, before: State | None, state: State | None) -> Want | None:
        """The alias and what stood beside it, as they were (B-49, C-31)."""
        before = primary(before)
        return None if before is None else {"values": before["values"], "others": before["others"]}

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        from engine.connections.dns import Edit

        zone, label, kind = self.record()
        then = primary(before) or {}
        now = _edits(texts((primary(diff.before) or {}).get("others")))
        back = _edits(texts(then.get("others")))
        edits = []
        if held(diff) != texts(then.get("values")):
            edits.append(Edit(label, kind, texts(then.get("values")), _ttl(then.get("ttl")), held(diff)))
        for each in {**now, **back}:
            values, ttl = back.get(each, (0, ()))[1], back.get(each, (0, ()))[0]
            if values != now.get(each, (0, ()))[1]:
                edits.append(Edit(*each, values, ttl, now.get(each, (0, ()))[1]))
        return site.dns.update(zone, edits)


def _ttl(found: object) -> int:
    return found if isinstance(found, int) else TTL_NEW


def _edits(lines: tuple[str, ...]) -> dict[tuple[str, str], tuple[int, tuple[str, ...]]]:
    """The record sets that lines of `others` name: (label, type) → TTL, values."""
    found: dict[tuple[str, str], tuple[int, tuple[str, ...]]] = {}
    for line in lines:
        owner, ttl, kind, value = line.split(" ", 3)
        _, values = found.get((owner, kind), (0, ()))
        found[owner, kind] = (int(ttl), (*values, value))
    return found


def _state(module: Autodiscover, answers: Mapping[tuple[str, str, str], Any]) -> State | Unknown | None:
    asked = (module.record(), *module.leftovers())
    fault = next((answers[each] for each in asked if isinstance(answers[each], Fault)), None)
    if fault is not None:
        return Unknown.of(fault)
    alias, *rest = (answers[each] for each in asked)
    if alias.absent and all(each.absent for each in rest):
        return None
    state = state_of(alias) or {"ttl": None, "values": (), "agree": True}
    slowest = [(question, each.values, each.ttl) for question, each in zip(asked[1:], rest, strict=True)]
    first = [(question, each.primary.values, each.primary.ttl) for question, each in zip(asked[1:], rest, strict=True)]
    state["others"] = _lines(slowest)
    lagging = {server for each in (alias, *rest) for server in each.lagging}
    if lagging:
        state |= {"agree": False, "lagging": tuple(sorted(lagging)), "primary_values": alias.primary.values,
                  "primary_ttl": alias.primary.ttl, "primary_others": _lines(first)}
    return state


def _lines(found: Sequence[tuple[tuple[str, str, str], tuple[str, ...], int | None]]) -> tuple[str, ...]:
    return tuple(f"{owner} {ttl} {kind} {value}" for (_, owner, kind), values, ttl in found for value in values)


def _demand(records: Mapping[str, Any]) -> tuple[str, ...] | None:
    return (str(records["autodiscover_host"]),) if records.get("autodiscover_host") else None
