"""The inventory's rows and their relations, kept as tuples under one header, reached by integers.

20,000 mailboxes are one list of tuples; a row becomes a mapping only while somebody looks at it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.contract import Mark, Plain

ORGANISATION = "organisation"


@dataclass(slots=True)
class Table:
    """All rows of one kind. `written`: the inventory names the kind, even if it has no rows."""

    kind: str
    key_column: str
    columns: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[Plain, ...]] = field(default_factory=list)
    keys: tuple[str, ...] = ()
    positions: dict[str, int] = field(default_factory=dict)
    file: str = ""
    lines: array[int] = field(default_factory=lambda: array("l"))
    written: bool = False

    def mark(self, position: int) -> Mark:
        """Where the row was written."""
        return Mark(self.file, self.lines[position], 1)

    def fields(self, position: int) -> dict[str, Plain]:
        return dict(zip(self.columns, self.rows[position], strict=True))


@dataclass(frozen=True, slots=True)
class Relation:
    """`kind.name` leads to rows of `to`. `one`: positions there, -1 for none, in `forward`."""

    kind: str
    name: str
    to: str
    one: bool
    column: str = ""
    through: str = ""

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}"


class Rows:
    """`contract.Rows` over tables. `relations` by (kind, name)."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.tables = tables
        self.relations: dict[tuple[str, str], Relation] = {}
        #: position of the related row by row, -1 for none: one-relations only
        self.forward: dict[tuple[str, str], array[int]] = {}
        self._links: dict[tuple[str, str], list[tuple[str, ...]]] = {}

    def kinds(self) -> Sequence[str]:
        return tuple(self.tables)

    def keys(self, kind: str) -> Sequence[str]:
        """All row keys of a kind, in inventory order; the same object every time. KeyError for no such kind."""
        return self.tables[kind].keys

    def fields(self, kind: str, key: str) -> Mapping[str, Plain]:
        """The row's own fields. KeyError when there is no such row."""
        table = self.tables[kind]
        return table.fields(table.positions[key])

    def position(self, kind: str, key: str) -> int:
        """Index of the row in `keys(kind)`. KeyError when there is no such row."""
        return self.tables[kind].positions[key]

    def related(self, kind: str, key: str, other: str) -> Sequence[str]:
        """Keys of the related rows of `other`, in either direction. LookupError when no relation is declared."""
        place = self.tables[kind].positions[key]
        if kind == other:
            return (key,)
        if ORGANISATION in (kind, other):
            return self.tables[other].keys
        return self._links[kind, other][place]

    def relates(self, kind: str, other: str) -> bool:
        """Whether `related` has an answer for these kinds."""
        return kind == other or ORGANISATION in (kind, other) or (kind, other) in self._links

    def relate(self, relation: Relation, targets: Sequence[tuple[int, ...]]) -> None:
        """Adds a relation: for each row, the positions of its related rows. Both directions are indexed now."""
        table, other = self.tables[relation.kind], self.tables[relation.to]
        known: dict[tuple[int, ...], tuple[str, ...]] = {}
        back: list[list[str]] = [[] for _ in other.keys]
        ahead = []
        for key, places in zip(table.keys, targets, strict=True):
            names = known.get(places)
            if names is None:
                names = known[places] = tuple(other.keys[place] for place in places)
            ahead.append(names)
            for place in places:
                back[place].append(key)
        self.relations[relation.kind, relation.name] = relation
        self._links[relation.kind, relation.to] = ahead
        self._links[relation.to, relation.kind] = [tuple(keys) for keys in back]
        if relation.one:
            self.forward[relation.kind, relation.name] = array("l", (places[0] if places else -1 for places in targets))
