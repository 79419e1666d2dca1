"""What a guard is asked and answers, what the run knows that no remote system can say, and what the guards share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from engine.connections import Site
from engine.contract import Diff, Phase, Program, State, Template
from engine.modules.base import Module

#: Phases that prove a thing for a guard.
PROVEN = frozenset({Phase.DONE, Phase.SUPERSEDED})
#: A waiver of one of these says that the mailbox does not move, or is not converted: what rests on it falls away.
MOVES = ("mailbox_sync", "cloud_recipient")
CONVERTS = ("mail_user_conversion",)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one guard says of one act. `passed` None: it cannot be told. `until`: when it will pass by itself.

    question  the word it waits for, of an act that no `approval` task stands before
    """

    guard: str
    passed: bool | None
    reason: str
    until: datetime | None = None
    question: str = ""


class Facts(Protocol):
    """What the run knows that no remote system can say: records of this migration."""

    def proven(self, module_name: str, row: str) -> bool:
        """A task of that module is done for the row, by this run's reading or by record."""
        ...

    def held_since(self, module_name: str, row: str) -> datetime | None:
        """Since when the first task of that module (of those on DNS) has held for the row."""
        ...

    def last(self, module_name: str, row: str) -> State | None:
        """The state last recorded of a task of that module; None: none was."""
        ...

    def before(self, module_name: str, row: str) -> State | None:
        """The state before our first change, of the first task of that module."""
        ...

    def waived(self, kind: str, row: str, *modules: str) -> bool:
        """Whether a person has waived a task of one of these modules for the row; none named: any task of it."""
        ...

    def count_settled(self, module_name: str) -> int:
        """How many rows of that module's task are done."""
        ...

    def approved(self, template: Template, row: str) -> bool:
        """An approval directly before this task is granted for the row and has not expired."""
        ...

    def overridden(self, guard: str, row: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Act:
    """An act about to be done, as guards see it."""

    template: Template
    row: str
    module: Module
    diff: Diff
    #: it takes an earlier act back; `since`: when that act was seen done; `approved`: a person has said so of this one
    back: bool = False
    since: datetime | None = None
    approved: bool = False


class Ground:
    """What the rules stand on: the rows, the remote systems, the facts of this run."""

    def __init__(self, program: Program, site: Site, facts: Facts) -> None:
        self.program = program
        self.site = site
        self.facts = facts
        self.staged = program.settings.get("type") == "staged"

    def domain(self, act: Act) -> str:
        """The mail domain whose records the act changes."""
        if act.template.kind == "domains":
            return act.row
        _, zone, owner, _ = act.module.key().split("/")
        owner = owner.removeprefix("autodiscover").lstrip(".") or "@"
        return zone if owner == "@" else f"{owner}.{zone}"

    def related(self, kind: str, row: str, other: str) -> Sequence[str]:
        """The rows of another kind that belong to a row; none where the inventory relates them in no way."""
        try:
            return self.program.rows.related(kind, row, other)
        except LookupError:
            return ()

    def needs_licence(self, address: str) -> bool:
        """A planned mailbox without a product (a shared one, a room) needs none; an unplanned one is not let off."""
        try:
            return bool(self.program.rows.fields("mailboxes", address).get("sku"))
        except KeyError:
            return True

    def has_a_person(self, address: str) -> bool:
        """Of a planned mailbox. Shared ones, rooms and equipment never act by themselves."""
        return self.program.rows.fields("mailboxes", address).get("type") in (None, "", "user")


#: A guard's rule. A fault of the remote side is «cannot be told».
Rule: TypeAlias = Callable[[Ground, Act, datetime], Verdict]


def first(left: Sequence[str], what: str) -> str:
    """How many lack something, and the first of them."""
    return f"{len(left)} {what}: {left[0]}" + (" …" if len(left) > 1 else "")


def seconds(value: object) -> int:
    """A TTL as it was read; 0 where none was."""
    return value if isinstance(value, int) else 0
