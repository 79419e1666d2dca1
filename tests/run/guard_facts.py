"""What a guard is told of the journal, as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.contract import State, Template


@dataclass
class Told:
    """`guards.Facts`, as data: all that a rule asks for is there, but what is `missing`.

    let_off   (module, row) that a person has waived; module "": the row as a whole
    counted   items of any source mailbox when they were compared
    moved     since when MX has been switched; lowered, ttl: since when its TTL is low, and what it was
    word      whether an approval stands before the act
    """

    missing: frozenset[tuple[str, str]] = frozenset()
    let_off: frozenset[tuple[str, str]] = frozenset()
    counted: int | None = None
    moved: datetime | None = None
    lowered: datetime | None = None
    ttl: int | None = None
    word: bool = True

    def proven(self, module_name: str, row: str) -> bool:
        return (module_name, row) not in self.missing

    def waived(self, kind: str, row: str, *modules: str) -> bool:
        return any((name, row) in self.let_off for name in modules or ("",))

    def held_since(self, module_name: str, row: str) -> datetime | None:
        return {"mx_switch": self.moved, "mx_ttl": self.lowered}[module_name]

    def last(self, module_name: str, row: str) -> State | None:
        return None if self.counted is None else {"source_items": self.counted}

    def before(self, module_name: str, row: str) -> State | None:
        return None if self.ttl is None else {"ttl": self.ttl}

    def count_settled(self, module_name: str) -> int:
        return 0

    def approved(self, template: Template, row: str) -> bool:
        return self.word

    def overridden(self, guard: str, row: str) -> bool:
        return guard == "clock"  # which tests/run/test_guard_matrix.py judges
