"""A task over a row set, ready to be bound: `contract.Template` over compiled terms."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from engine.contract import Edge, Invalid, Mark, Outputs, Plain, Unknown
from engine.language.inventory import Inventory
from engine.language.operations import Evaluate, Scope, Unusable, truth
from engine.language.schema import Kind, WrongType, described
from engine.language.source import Node


@dataclass(frozen=True, slots=True)
class Varying:
    """A parameter that differs by row or is known only in the run."""

    name: str
    evaluate: Evaluate
    exact: type | None
    typed: Callable[[Any], Any]
    kind: Kind
    node: Node


@dataclass(slots=True)
class TaskTemplate:
    """`contract.Template`: see there. Made by engine.language.resolve."""

    index: int
    name: str
    id: str | None
    play: str
    mark: Mark
    module_name: str
    module: type[Any]
    kind: str
    keys: Sequence[str]
    inventory: Inventory
    tags: frozenset[str] = frozenset()
    register: str | None = None
    window: str | None = None
    timeout_seconds: int | None = None
    edges: Sequence[Edge] = ()
    wait_registers: Sequence[tuple[str, str]] = ()
    #: all registers it reads, whatever for
    registers: frozenset[tuple[str, str]] = frozenset()
    constants: dict[str, Any] = field(default_factory=dict)
    varying: Sequence[Varying] = ()
    whens: Sequence[tuple[Evaluate, Node]] = ()
    moment: tuple[Evaluate, Node] | None = None
    #: loop items: the same for all rows, or by row with the first slot of each
    items: tuple[Plain, ...] | None = None
    row_items: Sequence[tuple[Plain, ...]] | None = None
    starts: array[int] | None = None

    def slots(self) -> int:
        if self.starts is not None:
            return self.starts[-1]
        return len(self.keys) * (1 if self.items is None else len(self.items))

    def row(self, slot: int) -> str:
        return self.keys[self._place(slot)[0]]

    def item(self, slot: int) -> Plain:
        """The loop item of this slot, None without a loop."""
        place, number = self._place(slot)
        items = self.items if self.row_items is None else self.row_items[place]
        return None if items is None else items[number]

    def slots_of(self, row: str) -> Sequence[int]:
        place = self.inventory.position(self.kind, row)
        if self.starts is not None:
            return range(self.starts[place], self.starts[place + 1])
        if self.items is None:
            return (place,)
        return range(place * len(self.items), (place + 1) * len(self.items))

    def when(self, slot: int, outputs: Outputs) -> bool | Unknown:
        """Whether the row takes part. Raises Invalid when it is neither true nor false."""
        unknown: Unknown | None = None
        for evaluate, node in self.whens:
            try:
                value = evaluate(self._scope(slot, outputs))
                if type(value) is Unknown:
                    unknown = value
                elif not truth(value):
                    return False
            except Unusable as error:
                self._refuse(node, "when has no value", f"{error}.", slot, "What would work: true or false.")
        return True if unknown is None else unknown

    def not_before(self, slot: int, outputs: Outputs) -> datetime | Unknown | None:
        """The moment before which it waits; None without one. Raises Invalid when it is no moment."""
        if self.moment is None:
            return None
        evaluate, node = self.moment
        try:
            value = evaluate(self._scope(slot, outputs))
            if type(value) is Unknown:
                return value
            return moment(value)
        except Unusable as error:
            self._refuse(node, "not_before has no value", f"{error}.", slot)

    def bind(self, slot: int, outputs: Outputs) -> Any | Unknown:
        """A ready module, or Unknown with the names that are missing. Raises Invalid for a value of the wrong type."""
        varying = self.varying
        if not varying:
            return self.module(**self.constants)
        values = self.constants.copy()
        scope = (
            Scope(slot, self.keys[slot], None, outputs)
            if self.items is None and self.starts is None
            else (self._scope(slot, outputs))
        )
        unknown: list[Unknown] = []
        for each in varying:
            try:
                value = each.evaluate(scope)
                if type(value) is not each.exact:
                    if type(value) is Unknown:
                        unknown.append(value)
                        continue
                    value = each.typed(value)
            except WrongType as wrong:
                self._refuse(
                    each.node,
                    "wrong type",
                    f"{self.module_name}.{each.name}: found {wrong}.",
                    slot,
                    f"What would work: {each.kind.words}.",
                )
            except Unusable as error:
                self._refuse(each.node, "expression has no value", f"{self.module_name}.{each.name}: {error}.", slot)
            values[each.name] = value
        if unknown:
            needs = dict.fromkeys(name for each in unknown for name in each.needs)
            return Unknown(unknown[0].reason, tuple(needs))
        return self.module(**values)

    def loop(self, items: Callable[[int], tuple[Plain, ...]] | tuple[Plain, ...]) -> None:
        """Sets the loop's items: one tuple for all rows, or a function of the row's position."""
        if isinstance(items, tuple):
            self.items = items
            return
        self.row_items = [items(place) for place in range(len(self.keys))]
        self.starts = array("l", [0])
        for each in self.row_items:
            self.starts.append(self.starts[-1] + len(each))

    def _place(self, slot: int) -> tuple[int, int]:
        if self.starts is not None:
            place = bisect_right(self.starts, slot) - 1
            return place, slot - self.starts[place]
        return (slot, 0) if self.items is None else divmod(slot, len(self.items))

    def _scope(self, slot: int, outputs: Outputs) -> Scope:
        place, _ = self._place(slot)
        return Scope(place, self.keys[place], self.item(slot), outputs)

    def _refuse(self, node: Node, summary: str, found: str, slot: int, remedy: str = "") -> NoReturn:
        raise Invalid([node.problem(summary, found=f"{found} Row: {self.row(slot)}.", remedy=remedy)])


def moment(value: Any) -> datetime:
    """A moment with its zone, from itself or from ISO text. Raises Unusable."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise Unusable(f"{described(value)} is not a moment, as in 2026-11-20T18:00:00+01:00") from None
    if not isinstance(value, datetime):
        raise Unusable(f"a moment is needed, found {described(value)}")
    if value.tzinfo is None:
        raise Unusable(f"{value.isoformat()} has no time zone; write it with its offset, as in +01:00")
    return value
