"""Task modules whose remote system is a dictionary: for the engine's own tests and its benchmark.

The engine under test is the real one; only the remote side is small. What a module did is counted in `Remote.effects`,
and faults are put in by hand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.contract import AtLeast, Diff, Failing, Fault, Handover, InDoubt, Outlook, State, Waiting, Want, difference
from engine.modules.approval import Approval
from engine.modules.base import Acted, Effect, Module, Reading, Reads, Undo
from engine.modules.checklist import Checklist


@dataclass
class Remote:
    """A remote system: things by key, effects counted, faults by key."""

    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    read_faults: dict[str, Fault] = field(default_factory=dict)
    act_faults: dict[str, list[Fault]] = field(default_factory=dict)
    by_hand: set[str] = field(default_factory=set)
    #: acts on these are accepted and change nothing
    stuck: set[str] = field(default_factory=set)
    #: what cannot be taken back, and why
    final: dict[str, str] = field(default_factory=dict)
    #: the benchmark's things, small: family → name → value, both the row's own texts
    steps: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))


def remote(site: Site) -> Remote:
    found: Remote = site.settings["remote"]
    return found


@dataclass(frozen=True, kw_only=True)
class Thing(Module):
    """Keep a thing's value."""

    family: ClassVar[str] = "thing"
    public: ClassVar[frozenset[str]] = frozenset({"value", "foreign", "state"})
    connection: ClassVar[str] = "memory"

    name: Annotated[str, "Name."]
    value: Annotated[str, "Value."] = "on"

    def key(self) -> str:
        return f"{self.family}/{self.name}"

    def want(self) -> Want | None:
        return {"value": self.value}

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        side = remote(site)
        side.reads[cls.__name__] += 1
        if "*" in side.read_faults:
            raise side.read_faults["*"]
        things = side.things
        if not side.read_faults:
            return {key: things.get(key) for key in [module.key() for module in modules]}
        return super().read_many(site, modules)

    def read(self, site: Site) -> State | None:
        side = remote(site)
        if self.key() in side.read_faults:
            raise side.read_faults[self.key()]
        return side.things.get(self.key())

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is not None and state.get("busy"):
            return Waiting("busy")
        if state is not None and state.get("failed"):
            return Failing("it failed over there", "look at it", retry=state["failed"] == "passing")
        return None

    def apply(self, site: Site, diff: Diff) -> State | Handover | None:
        side = remote(site)
        site.before_call()
        key = self.key()
        faults = side.act_faults.get(key)
        fault = faults.pop(0) if faults else None
        if fault is not None and not isinstance(fault, InDoubt):
            raise fault
        if key in side.by_hand:
            return Handover("text", f"set {key}", f"set {key} to {self.value}")
        want = self.want()
        side.effects[f"{key} {diff.verb}"] += 1
        if key in side.stuck:
            pass
        elif want is None:
            side.things.pop(key, None)
        else:
            plain = {name: value.value if isinstance(value, AtLeast) else value for name, value in want.items()}
            side.things[key] = {**side.things.get(key, {}), **plain}
        if fault is not None:
            raise fault
        return None

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        site.before_call()
        side, key = remote(site), self.key()
        faults = side.act_faults.get(key)
        fault = faults.pop(0) if faults else None
        if fault is not None and not isinstance(fault, InDoubt):
            raise fault
        if key in side.by_hand:
            return Handover("text", f"set {key} back", f"set {key} back")
        side.effects[f"{key} restore"] += 1
        if before is None:
            side.things.pop(key, None)
        else:
            back = {change.field: change.after for change in diff.changes}
            side.things[key] = {**side.things.get(key, {}), **back}
        if fault is not None:
            raise fault
        return None

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        return remote(site).final.get(self.key(), "")

    def loses(self, before: State | None, state: State | None) -> Sequence[str]:
        return (f"what {self.name} did meanwhile",)


@dataclass(frozen=True, kw_only=True)
class Ladder(Thing):
    """A thing that is created, started, removed."""

    family: ClassVar[str] = "ladder"
    effect: ClassVar[Effect] = "create"

    state: Annotated[str, "created, started or absent."] = "created"

    def want(self) -> Want | None:
        return None if self.state == "absent" else {"state": AtLeast(self.state, ("created", "started"))}


@dataclass(frozen=True, kw_only=True)
class Observed(Thing):
    """A thing that others bring about."""

    family: ClassVar[str] = "observed"
    effect: ClassVar[Effect] = "observe"


@dataclass(frozen=True, kw_only=True)
class Whole(Thing):
    """A thing whose act may be half done: then what is foreign to it has to come back as well."""

    family: ClassVar[str] = "whole"
    goes_on: ClassVar[bool] = True

    def remaining(self, origin: State, state: State | None) -> Diff | None:
        return difference({"value": self.value, "foreign": origin["foreign"]}, state)

    def apply(self, site: Site, diff: Diff) -> State | Handover | None:
        if (origin := diff.origin or diff.before) is not None:
            remote(site).things[self.key()]["foreign"] = origin["foreign"]
        return super().apply(site, diff)


@dataclass(frozen=True, kw_only=True)
class Letter(Module):
    """A message that is sent once."""

    family: ClassVar[str] = "letter"
    connection: ClassVar[str] = "memory"
    effect: ClassVar[Effect] = "send"
    undo: ClassVar[Undo] = "none"
    reads: ClassVar[Reads] = "journal"

    id: Annotated[str, "Mark."]
    to: Annotated[str, "Recipient."]

    def key(self) -> str:
        return f"letter/{self.id}/{self.to}"

    def want(self) -> Want | None:
        return {"sent": True}

    def read(self, site: Site) -> State | None:
        return remote(site).things.get(self.key())

    def apply(self, site: Site, diff: Diff) -> State | Handover | None:
        side = remote(site)
        if faults := side.act_faults.get(self.key()):
            raise faults.pop(0)
        side.effects[f"{self.key()} send"] += 1
        side.things[self.key()] = {"sent": True}
        return {"sent": True}


def numbered(count: int) -> dict[str, type[Module]]:
    """`step1` … `stepN`: copies of Thing in families of their own; bulk acts are answered at once."""
    return {f"step{n}": dataclass(frozen=True, kw_only=True)(
        type(f"Step{n}", (_Step,), {"family": f"step{n}", "__module__": __name__, "__doc__": "A step."}))
        for n in range(1, count + 1)}


@dataclass(frozen=True, kw_only=True)
class _Step(Thing):
    family: ClassVar[str] = "step"
    apply_rows: ClassVar[int] = 1000

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        values = remote(site).steps[cls.family]
        return {module.key(): {"value": values[module.name]} if module.name in values else None  # type: ignore
                for module in modules}

    @classmethod
    def apply_many(cls, site: Site, acts: Sequence[tuple[Module, Diff]]) -> Sequence[Acted]:
        values = remote(site).steps[cls.family]
        for module, _ in acts:
            values[module.name] = module.value  # type: ignore[attr-defined]
        return [None] * len(acts)


MODULES: dict[str, type[Module]] = {
    "thing": Thing, "ladder": Ladder, "observed": Observed, "whole": Whole, "letter": Letter, "approval": Approval,
    "checklist": Checklist,
}
