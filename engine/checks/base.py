"""What a check is, what it may look at, and how it speaks. The checks themselves: one file per thing looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, TypeAlias

from engine.connections import Site
from engine.contract import Finding, Plain, Program

#: Rows named in a finding; the rest is counted.
SAMPLE_ROWS = 3


@dataclass(frozen=True)
class Memory:
    """What the journal remembers and no remote system can say.

    pinned       what the first run wrote down: tenant, source, type, at (when), mx (zone file values by domain)
    moved_mx     domains whose MX hosts this migration has begun to change
    removed      batches this migration has begun to remove
    lifted       check → (text of the finding, who, reason) a person goes on with all the same
    """

    pinned: Mapping[str, Plain] = field(default_factory=dict)
    moved_mx: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    lifted: Mapping[str, Sequence[tuple[str, str, str]]] = field(default_factory=dict)


@dataclass
class Look:
    """One look at everything: the program, the remote systems (through shared listings), and what is remembered."""

    program: Program
    site: Site
    now: datetime
    memory: Memory = field(default_factory=Memory)

    @property
    def staged(self) -> bool:
        return self.program.settings.get("type") == "staged"

    @property
    def method(self) -> str:
        """`staged` or `cutover`."""
        return str(self.program.settings.get("type"))

    @cached_property
    def families(self) -> frozenset[str]:
        """What the playbook's tasks own."""
        return frozenset(template.module.family for template in self.program.templates)

    @cached_property
    def planned(self) -> Mapping[str, Mapping[str, Plain]]:
        """The inventory's mailboxes by lower-case address."""
        rows = self.program.rows
        if "mailboxes" not in rows.kinds():
            return {}
        return {key.lower(): rows.fields("mailboxes", key) for key in rows.keys("mailboxes")}

    def keys(self, kind: str) -> Sequence[str]:
        return self.program.rows.keys(kind) if kind in self.program.rows.kinds() else ()

    def var(self, name: str) -> str:
        """A variable of the inventory, "" where there is none."""
        found = self.site.settings.get("vars")
        return str(found.get(name) or "") if isinstance(found, Mapping) else ""

    @property
    def planned_end(self) -> datetime | None:
        """When the migration is to have ended, as the inventory says (`planned_end`)."""
        found = self.program.settings.get("planned_end")
        return found if isinstance(found, datetime) else None


Examine: TypeAlias = Callable[[Look], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """One thing looked at at every plan, apply and doctor, whatever the playbook says.

    name       as a person types it, in `override NAME organisation` and the page of checks
    what       one line for the page of checks
    ids        requirement ids
    reads      connections it asks; where the inventory names none of that name, it cannot be told
    refuses    it may forbid writing; then, where it cannot be told, it does
    liftable   its refusal may be overridden by a named person, with a reason
    first      it is about who we are talking to: nothing else is read before it agrees
    where      which migrations it is about
    """

    name: str
    what: str
    ids: tuple[str, ...]
    reads: tuple[str, ...]
    examine: Examine
    refuses: bool = False
    liftable: bool = False
    first: bool = False
    where: Callable[[Look], bool] = lambda look: True


def copies(look: Look) -> bool:
    """The playbook has batches: it moves mailboxes, and does not only prepare or tidy up."""
    return "batch" in look.families


def cutover(look: Look) -> bool:
    return copies(look) and look.method == "cutover"


def refuse(text: str, remedy: str = "", rows: Sequence[str] = ()) -> Finding:
    return _finding("refuse", text, remedy, rows)


def warn(text: str, remedy: str = "", rows: Sequence[str] = ()) -> Finding:
    return _finding("warn", text, remedy, rows)


def note(text: str, remedy: str = "", rows: Sequence[str] = ()) -> Finding:
    return _finding("note", text, remedy, rows)


def _finding(severity: Literal["refuse", "warn", "note"], text: str, remedy: str, rows: Sequence[str]) -> Finding:
    return Finding("", severity, text, remedy, tuple(rows[:SAMPLE_ROWS]), len(rows))


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 mailbox`, `2,001 mailboxes`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def mailboxes(number: int) -> str:
    return counted(number, "mailbox", "mailboxes")
