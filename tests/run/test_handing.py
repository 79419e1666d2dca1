"""What is handed to a person: one script for a group, unfinished first, anew when the world moved, back by `retry`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest

from engine.connections import Site
from engine.contract import Diff, ExitCode, Handover, State, Want
from engine.modules.base import Module
from engine.run import handing, words
from tests.run import conftest, memory
from tests.run.conftest import INVENTORY, Migration
from tests.run.memory import remote

ANNA, BO, CEM = (f"{each}@acme.example" for each in ("anna", "bo", "cem"))
PLAYBOOK = """
- name: Mailboxes
  targets: mailboxes
  tasks:
    - name: Set
      steps: {name: "{{ target }}"}
"""


@dataclass(frozen=True, kw_only=True)
class Steps(Module):
    """A thing that a person brings about in two steps; half-way it is out of order."""

    family: ClassVar[str] = "steps"
    connection: ClassVar[str] = "memory"

    name: Annotated[str, "Name."]

    def key(self) -> str:
        return f"steps/{self.name}"

    def want(self) -> Want:
        return {"off": True, "on": True}

    def read(self, site: Site) -> State | None:
        return remote(site).things.get(self.key(), {"off": False, "on": False})

    def apply(self, site: Site, diff: Diff) -> Handover:
        left = [change.field for change in diff.changes]
        lines = ["# one shell", *(f"{each} {self.name}" for each in left)]
        return Handover("text", f"set {self.name}", "\n".join(lines), urgent=left == ["on"])

    def handover_group(self) -> str:
        return "steps"


@pytest.fixture
def migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Migration]:
    monkeypatch.setitem(memory.MODULES, "steps", Steps)
    (tmp_path / "inventory.yml").write_text(INVENTORY, encoding="utf-8")
    made = conftest.Migration(tmp_path)
    made.write(PLAYBOOK)
    yield made


def scripts(migration: Migration) -> list[str]:
    """The texts a person sees now, one for each script."""
    from engine.run import standing

    journal = migration.journal()
    try:
        return [str(each.handover["text"]) for each in standing.parked(journal) if each.handover.get("text")]
    finally:
        journal.close()


def test_rows_of_a_group_are_one_script(migration: Migration) -> None:
    assert migration.run().exit_code == ExitCode.PARKED_ON_PERSON
    assert scripts(migration) == [
        f"# one shell\noff {ANNA}\non {ANNA}\noff {BO}\non {BO}\noff {CEM}\non {CEM}\n"]
    assert migration.run().exit_code == ExitCode.PARKED_ON_PERSON
    assert len(scripts(migration)) == 1, "nothing has moved: nothing is handed out again"


def test_what_was_half_run_comes_first_in_the_next_script(migration: Migration) -> None:
    migration.run()
    things: dict[str, dict[str, Any]] = migration.remote.things
    things[f"steps/{ANNA}"] = {"off": True, "on": True}
    things[f"steps/{CEM}"] = {"off": True, "on": False}
    migration.later(hours=1)
    migration.run()
    assert scripts(migration) == [f"# one shell\non {CEM}\noff {BO}\non {BO}\n"]
    for name in (BO, CEM):
        things[f"steps/{name}"] = {"off": True, "on": True}
    migration.later(hours=1)
    assert migration.run().exit_code == ExitCode.CONVERGED


def test_a_handover_is_taken_back_by_retry_and_handed_out_anew(migration: Migration) -> None:
    migration.run()
    migration.say(words.retry, task="Set", rows=(BO,), reason="the line was mistyped")
    migration.run()
    found = sorted(scripts(migration))
    assert len(found) == 2 and f"# one shell\noff {BO}\non {BO}" in [each.rstrip() for each in found]


def test_equal_texts_stand_once_and_titles_are_counted() -> None:
    one, two = Handover("text", "first", "head\na\n"), Handover("text", "second", "head\nb\n", urgent=True)
    whole = handing.joined([one, two, one])
    assert whole == Handover("text", "second, and 1 more", "head\nb\na\n", urgent=True)
    assert handing.joined([one]) is one
