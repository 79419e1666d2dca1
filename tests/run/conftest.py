"""A small migration for the engine's tests: real language, journal and run; the remote side is `memory.Remote`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from engine.connections import Site
from engine.contract import Event, Outcome, Plan, Program
from engine.language.resolve import resolve
from engine.run import execute, plan, undo
from engine.run.graph import Selection
from engine.run.journal import Journal
from engine.world import InlineWorkers, StillClock, World
from tests.run.memory import MODULES, Remote

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

INVENTORY = """
migration: acme
type: staged
exchange: "2007"
tenant: {id: 11111111-2222-3333-4444-555555555555, domain: acme.onmicrosoft.com}
rows:
  domains:
    - {domain: acme.example}
  mailboxes:
    - {address: anna@acme.example, name: Anna, type: user, batch: B1}
    - {address: bo@acme.example, name: Bo, type: user, batch: B1}
    - {address: cem@acme.example, name: Cem, type: user, batch: B2}
  batches:
    - {batch: B1}
    - {batch: B2}
windows:
  night: {days: [friday], opens: "20:00", closes: "06:00", timezone: UTC}
"""


#: One task of every mailbox.
ONE = """
- name: Things
  targets: mailboxes
  tasks:
    - name: The thing is on
      thing: {name: "{{ target }}"}
"""


@dataclass
class Migration:
    """A playbook over the small inventory; `run` and `plan` open the journal anew each time, as processes do."""

    folder: Path
    remote: Remote = field(default_factory=Remote)
    clock: StillClock = field(default_factory=lambda: StillClock(START))
    events: list[Event] = field(default_factory=list)
    seed: int = 1

    def write(self, playbook: str) -> None:
        (self.folder / "playbook.yml").write_text(dedent(playbook), encoding="utf-8")

    def program(self) -> Program:
        return resolve(self.folder / "playbook.yml", self.folder / "inventory.yml", modules=MODULES)

    def world(self) -> World:
        return World(clock=self.clock, random=random.Random(self.seed), environment={"USER": "kim"},
                     workers=lambda: InlineWorkers(random.Random(self.seed)))

    def site(self, world: World) -> Site:
        return Site({}, {"remote": self.remote}, world)

    def journal(self) -> Journal:
        return Journal.open(self.folder / "state", self.clock, create=True)

    def plan(self, **selection: Any) -> Plan:
        world = self.world()
        journal = self.journal()
        try:
            return plan.make_plan(self.program(), self.site(world), journal, world, selection=Selection(**selection))
        finally:
            journal.close()

    def run(self, *, wait: bool = False, consent: Callable[[Plan], bool] | None = lambda _: True,
            **selection: Any) -> Outcome:
        world = self.world()
        journal = self.journal()
        self.events.clear()
        try:
            return execute.run(self.program(), self.site(world), journal, world, selection=Selection(**selection),
                               wait=wait, listener=self.events.append, consent=consent)
        finally:
            journal.close()

    def undo_plan(self, *rows: str, task: str | None = None, **more: Any) -> undo.UndoPlan:
        world = self.world()
        journal = self.journal()
        try:
            return undo.preview(self.program(), self.site(world), journal, world, rows=rows, task=task, **more)
        finally:
            journal.close()

    def undo(self, *rows: str, task: str | None = None, wait: bool = False,
             consent: Callable[[undo.UndoPlan], bool] = lambda _: True, **more: Any) -> undo.UndoOutcome | None:
        world = self.world()
        journal = self.journal()
        self.events.clear()
        try:
            return undo.undo(self.program(), self.site(world), journal, world, rows=rows, task=task, by="kim",
                             reason="test", wait=wait, listener=self.events.append, consent=consent, **more)
        finally:
            journal.close()

    def say(self, word: Callable[..., Any], **more: Any) -> None:
        """A person's word of `engine.run.words`."""
        journal = self.journal()
        try:
            word(journal, by="kim", **more)
        finally:
            journal.close()

    def later(self, **amount: float) -> None:
        self.clock.time += timedelta(**amount)

    def groups(self, shown: Plan) -> list[tuple[str, str, int]]:
        return [(str(shown.tasks[group.task]["name"]), group.word, group.count) for group in shown.groups]


@pytest.fixture
def migration(tmp_path: Path) -> Migration:
    (tmp_path / "inventory.yml").write_text(INVENTORY, encoding="utf-8")
    return Migration(tmp_path)
