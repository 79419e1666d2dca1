"""What the modules on DNS share: one record set, read from every authoritative server of its zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from engine.connections import Site
from engine.connections.records import host, label_of
from engine.contract import Change, Diff, Fault, Handover, Outlook, State, Unknown, Waiting, Want
from engine.modules.base import Effect, Module, Reading, Undo

if TYPE_CHECKING:
    from engine.connections.dns import Answer, Dns

#: RFC 2181, section 8; resolvers cap far lower, and so does sense.
TTL_MAX = 2**31 - 1
#: Where a set was empty, and nothing says how long it may be kept.
TTL_NEW = 3600


@dataclass(frozen=True, kw_only=True)
class RecordSet(Module):
    """A record set is as wanted only when all authoritative servers say the same.

    State: `values` of the slowest server, the greatest `ttl`, `agree`; and while they differ `lagging`,
    `primary_values` and `primary_ttl`.
    """

    family: ClassVar[str] = "dns"
    public: ClassVar[frozenset[str]] = frozenset({
        "agree", "lagging", "misplaced", "missing", "others", "primary_missing", "primary_others", "primary_ttl",
        "primary_values", "service_values", "ttl", "values"})
    connection: ClassVar[str] = "dns"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    # Secondaries learn of a change by NOTIFY within seconds, or by their refresh, often an hour (RFC 1996).
    settles_within: ClassVar[timedelta] = timedelta(hours=2)
    look_again: ClassVar[timedelta] = timedelta(minutes=1)
    rights: ClassVar[tuple[str, ...]] = ("a TSIG key that may update the zone",)

    @classmethod
    def zones(cls, site: Site) -> Dns:
        """Whose servers are asked: those of the module's connection."""
        return site.client(cls.connection)  # type: ignore[no-any-return]

    def record(self) -> tuple[str, str, str]:
        """Zone (canonical, no trailing dot), label and type. Raises ValueError when the parameters name none."""
        raise NotImplementedError

    def key(self) -> str:
        try:
            return "dns/" + "/".join(self.record())
        except ValueError:
            return f"dns/{self!r}"  # `problems` says what is wrong

    def problems(self) -> Iterator[str]:
        try:
            self.record()
        except ValueError as error:
            yield f"{'domain' if hasattr(self, 'domain') else 'name'}: {error}"

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        records = {module.key(): module.record() for module in modules if isinstance(module, RecordSet)}
        answers = cls.zones(site).record_sets(records.values())
        found: dict[str, Reading] = {}
        for key, question in records.items():
            answer = answers[question]
            found[key] = Unknown.of(answer) if isinstance(answer, Fault) else state_of(answer)
        return found

    def difference(self, state: State | None) -> Diff | None:
        diff = super().difference(state)
        if diff is None and state is not None and state.get("agree") is False:
            return Diff("change", (Change("agree", False, True),), state)
        return diff

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None or state.get("agree") is not False:
            return None
        if Module.difference(self, primary(state)) is None:
            return Waiting(f"{_listed(state['lagging'])}: not yet as the primary server has it")
        return None

    def restored(self, before: State | None, state: State | None) -> Want | None:
        """The set as the primary server held it; of an act that changed values only, the TTL stays as it is now."""
        before = primary(before)
        if before is not None and self.want() is None:
            return {"ttl": before["ttl"], "values": before["values"]}
        found = super().restored(before, state)
        return found if found is None else {name: value for name, value in found.items() if name != "agree"}

    def restore_diff(self, before: State | None, state: State | None) -> Diff | None:
        diff = super().restore_diff(before, state)
        if diff is not None or (state or {}).get("agree") is not False:
            return diff
        return Diff("change", (Change("agree", False, True),), state)

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        back = self.restored(before, diff.before)
        if back is None:
            return site.dns.delete(*self.record(), held(diff))
        now = primary(diff.before) or {}
        ttl = back.get("ttl", now.get("ttl") or (before or {}).get("ttl"))
        return site.dns.replace(*self.record(), texts(back.get("values", now.get("values"))), _whole(ttl), held(diff))

    def changed_since(self, before: State | None, left: State | None, state: State | None) -> tuple[Change, ...]:
        return super().changed_since(before, primary(left), primary(state))

    def by_hand(self, site: Site) -> bool:
        return bool(self.zones(site).by_hand)

    def handover_group(self) -> str:
        return "dns"


def state_of(answer: Answer) -> dict[str, Any] | None:
    """The state of one record set; None when every server says that there is none."""
    if answer.absent:
        return None
    state: dict[str, Any] = {"ttl": answer.ttl, "values": answer.values, "agree": answer.agree}
    if not answer.agree:
        state |= {"lagging": answer.lagging, "primary_values": answer.primary.values,
                  "primary_ttl": answer.primary.ttl}
    return state


def primary(state: State | None) -> State | None:
    """The state as the primary server alone has it: what an update is compared with."""
    if state is None or state.get("agree") is not False:
        return state
    then = dict(state, agree=True)
    for name in ("values", "ttl", "others", "missing"):
        if f"primary_{name}" in state:
            then[name] = state[f"primary_{name}"]
    return then if then["values"] or then.get("others") else None


def held(diff: Diff) -> tuple[str, ...]:
    """The values the primary server held when it was read."""
    return texts((primary(diff.before) or {}).get("values"))


def texts(found: object) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, tuple) else ()


def place(domain: str, zone: str, prefix: str = "") -> tuple[str, str]:
    """Zone and label of a mail domain, of a name below it with `prefix`. Raises ValueError when it lies outside."""
    name = f"{prefix}.{host(domain)}" if prefix else domain
    return host(zone).rstrip("."), label_of(name, zone)


def ttl_problem(seconds: int, field: str) -> str:
    return "" if 0 <= seconds <= TTL_MAX else f"{field}: seconds from 0 to {TTL_MAX} (RFC 2181, section 8)"


def _whole(found: object) -> int:
    return found if isinstance(found, int) else TTL_NEW


def _listed(found: object) -> str:
    return ", ".join(texts(found))
