"""The names a task's expressions may use: target, row, item, variables, registers. All are found when compiled."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.contract import Plain, Problem, Unknown
from engine.language.expressions import Reported, Term, Wrong, constant
from engine.language.inventory import Inventory
from engine.language.operations import Scope
from engine.language.playbook import Level
from engine.language.rows import ORGANISATION
from engine.language.source import Node, plain, suggestion
from engine.language.template import compile_node

Locate = Callable[[Scope], int]


class Registers:
    """Who registers what: (kind, name) → index of the task, and its name for messages."""

    def __init__(self) -> None:
        self.task: dict[tuple[str, str], int] = {}
        self.task_name: dict[tuple[str, str], str] = {}

    def before(self, kind: str, index: int) -> list[str]:
        """Names that rows of a kind have when task `index` begins."""
        return [name for (home, name), task in self.task.items() if home == kind and task < index]


class TaskNames:
    """`expressions.Names` for one task."""

    def __init__(
        self,
        inventory: Inventory,
        kind: str,
        index: int,
        levels: Sequence[Level],
        registers: Registers,
        problems: list[Problem],
    ) -> None:
        self.inventory = inventory
        self.kind = kind
        self.index = index
        self.levels = levels
        self.registers = registers
        self.problems = problems
        self.has_item = False
        self._variables: dict[str, Term | None] = {}
        self._under_way: list[str] = []

    def term(self, name: str) -> Term | None:
        if name == "target":
            return Term(evaluate=lambda scope: scope.target, row=True, called="target")
        if name == "row":
            return self._row(self.kind, None, "row")
        if name == "item" and self.has_item:
            return Term(evaluate=lambda scope: scope.item, row=True, called="item")
        for level in reversed(self.levels):
            if name in level.values:
                return self._variable(name, level)
        if self.registers.task.get((self.kind, name), self.index) < self.index:
            return _register(self.kind, name, None)
        return None

    def known(self) -> list[str]:
        variables = {name for level in self.levels for name in level.values}
        return [
            "target",
            "row",
            *(["item"] if self.has_item else []),
            *variables,
            *self.registers.before(self.kind, self.index),
        ]

    def hint(self, name: str) -> str:
        if name == "item":
            return "item is there only in a task with loop."
        if (self.kind, name) in self.registers.task:
            return f"It is registered only later, by «{self.registers.task_name[self.kind, name]}»."
        homes = [kind for kind, other in self.registers.task if other == name]
        for kind in homes:
            if kind == ORGANISATION:
                return f"Write row.organisation.{name}."
            for relation in self.inventory.relations.values():
                if relation.one and relation.kind == self.kind and relation.to == kind:
                    return f"Write row.{relation.name}.{name}."
        if homes:
            return f"It is registered for the {homes[0]}, and a row here has no single one of them."
        if name in self.inventory.tables[self.kind].columns:
            return f"Did you mean row.{name}?"
        return ""

    def related(self, kind: str) -> Callable[[Scope], Sequence[Mapping[str, Any]]]:
        inventory = self.inventory
        if kind not in inventory.tables:
            raise Wrong("unknown kind", f'There are no "{kind}".', suggestion(kind, inventory.tables))
        if not inventory.relates(self.kind, kind):
            raise Wrong(
                "no relation",
                f"The {self.kind} have no relation with {kind}.",
                "Declare one under relations in the inventory.",
            )
        table, home = inventory.tables[kind], self.kind

        def find(scope: Scope) -> Sequence[Mapping[str, Any]]:
            return [table.fields(table.positions[key]) for key in inventory.related(home, scope.target, kind)]

        return find

    # --------------------------------------------------------------------------------------------- parts

    def _variable(self, name: str, level: Level) -> Term:
        if name not in self._variables:
            value = level.values[name]
            if not isinstance(value, Node):
                self._variables[name] = constant(value)
            elif not level.compiled:
                self._variables[name] = constant(plain(value))
            elif name in self._under_way:
                self.problems.append(value.problem("variables in a circle", found=" → ".join([*self._under_way, name])))
                raise Reported
            else:
                self._under_way.append(name)
                try:
                    self._variables[name] = compile_node(value, self, self.problems)
                finally:
                    self._under_way.pop()
        term = self._variables[name]
        if term is None:
            raise Reported
        return term

    def _row(self, kind: str, locate: Locate | None, called: str) -> Term:
        """A row: the task's own (`locate` None), or the one a one-relation leads to (-1: there is none)."""
        inventory, table = self.inventory, self.inventory.tables[kind]

        def attribute(name: str) -> Term | None:
            relation = inventory.relations.get((kind, name))
            if relation is not None and (inventory.tables[relation.to].written or name not in table.columns):
                if relation.one:
                    return self._row(relation.to, _onward(inventory.forward[kind, name], locate), f"{called}.{name}")
                return _many(inventory, kind, relation.to, locate)
            if name in table.columns:
                return _column(table.rows, table.columns[name], locate, called)
            if name == ORGANISATION and kind != ORGANISATION:
                return self._row(ORGANISATION, lambda scope: 0, f"{called}.{name}")
            if locate is not None and self.registers.task.get((kind, name), self.index) < self.index:
                return _register(kind, name, _key(table.keys, locate, called))
            return None

        def names() -> Iterable[str]:
            relations = [name for home, name in inventory.relations if home == kind]
            return [*table.columns, *relations, *(self.registers.before(kind, self.index) if locate else ())]

        if locate is None:

            def evaluate(scope: Scope) -> Any:
                return table.fields(scope.index)
        else:

            def evaluate(scope: Scope) -> Any:
                place = locate(scope)
                return table.keys[place] if place >= 0 else None

        return Term(evaluate=evaluate, row=True, attribute=attribute, names=names, called=called)


def _onward(forward: array[int], locate: Locate | None) -> Locate:
    if locate is None:
        return lambda scope: forward[scope.index]

    def onward(scope: Scope) -> int:
        place = locate(scope)
        return forward[place] if place >= 0 else -1

    return onward


def _column(rows: list[tuple[Plain, ...]], column: int, locate: Locate | None, called: str) -> Term:
    if locate is None:
        return Term(evaluate=lambda scope: rows[scope.index][column], row=True)

    def get(scope: Scope) -> Any:
        place = locate(scope)
        return rows[place][column] if place >= 0 else Unknown(f"{scope.target} has no {called.rpartition('.')[2]}")

    return Term(evaluate=get, row=True)


def _many(inventory: Inventory, kind: str, other: str, locate: Locate | None) -> Term:
    keys = inventory.tables[kind].keys

    def get(scope: Scope) -> Any:
        place = scope.index if locate is None else locate(scope)
        return inventory.related(kind, keys[place], other) if place >= 0 else Unknown(f"{scope.target} has no such row")

    return Term(evaluate=get, row=True)


def _key(keys: Sequence[str], locate: Locate, called: str) -> Callable[[Scope], str | Unknown]:
    def key(scope: Scope) -> str | Unknown:
        place = locate(scope)
        return keys[place] if place >= 0 else Unknown(f"{scope.target} has no {called.rpartition('.')[2]}")

    return key


def _register(kind: str, name: str, key: Callable[[Scope], str | Unknown] | None) -> Term:
    """The registered state of the row, or of a related one."""
    needs = (name,)

    def get(scope: Scope) -> Any:
        row = scope.target if key is None else key(scope)
        if type(row) is Unknown:
            return row
        state = scope.outputs.register(kind, str(row), name)
        return replace(state, needs=needs) if type(state) is Unknown and not state.needs else state

    return Term(evaluate=get, registers=frozenset([(kind, name)]), row=True, called=name)
