"""Laws that hold whatever the playbook: killed at any record or act, the next runs arrive; nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.contract import ExitCode
from engine.run.journal import Journal
from tests.run.conftest import INVENTORY, Migration
from tests.run.memory import Remote, Thing

PLAYBOOK = """
- name: Domains
  targets: domains
  tasks:
    - name: Low
      thing: {name: "ttl-{{ target }}"}
      register: ttl
- name: Mailboxes
  targets: mailboxes
  tasks:
    - name: Made
      ladder: {name: "{{ target }}", state: created}
    - name: Started
      ladder: {name: "{{ target }}", state: started}
    - name: Set
      thing: {name: "{{ target }}"}
- name: Ends
  targets: domains
  needs: [Domains, Mailboxes]
  tasks:
    - name: Switched
      thing: {name: "mx-{{ target }}"}
      not_before: "{{ ttl.held_since + hours(1) }}"
    - name: Low no more
      thing: {name: "ttl-{{ target }}", value: "off"}
- name: Batches
  targets: mailboxes
  tasks:
    - name: Removed
      ladder: {name: "{{ target }}", state: absent}
"""


class Killed(BaseException):
    """What SIGKILL does to the process, as far as one process can do it to itself."""


def arrive(migration: Migration) -> Remote:
    for _ in range(6):
        if migration.run(wait=True).exit_code == ExitCode.CONVERGED:
            return migration.remote
    raise AssertionError("it does not arrive")


def start(folder: Path) -> Migration:
    folder.mkdir()
    (folder / "inventory.yml").write_text(INVENTORY, encoding="utf-8")
    migration = Migration(folder)
    migration.write(PLAYBOOK)
    return migration


def undisturbed(folder: Path) -> Remote:
    return arrive(start(folder))


def killing(what: Callable[..., Any], point: int, when: str) -> Callable[..., Any]:
    """The function, killed at its `point`-th call, before or after it is done."""
    seen = 0

    def counting(*words: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == point and when == "before":
            raise Killed
        answer = what(*words)
        if seen == point:
            raise Killed
        return answer

    return counting


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_journal_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    expected = undisturbed(tmp_path / "undisturbed")
    append = Journal.append
    point = 0
    while True:
        point += 1
        migration = start(tmp_path / f"{when}-{point}")
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", killing(append, point, when))
            try:
                migration.run(wait=True)
            except Killed:
                assert _told(migration) <= _durable(migration), f"killed {when} write {point}: told too early"
            else:
                assert _told(migration) == _durable(migration)
                break
        found = arrive(migration)
        assert (found.things, found.effects) == (expected.things, expected.effects), f"killed {when} write {point}"
    assert point > 15


def _told(migration: Migration) -> set[tuple[str, str, str]]:
    """What the screen was told of, that is a record too."""
    return {(event.kind, event.task, event.row) for event in migration.events if event.kind in ("settled", "parked")}


def _durable(migration: Migration) -> set[tuple[str, str, str]]:
    journal = migration.journal()
    try:
        return {(record.kind, record.task, record.row) for record in journal.records(kinds=("settled", "parked"))
                if record.kind == "parked" or record.body["acted"]}
    finally:
        journal.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    expected = undisturbed(tmp_path / "undisturbed")
    apply = Thing.apply
    for point in range(1, sum(expected.effects.values()) + 1):
        migration = start(tmp_path / f"{when}-{point}")
        with monkeypatch.context() as patch:
            patch.setattr(Thing, "apply", killing(apply, point, when))
            with pytest.raises(Killed):
                migration.run(wait=True)
        found = arrive(migration)
        assert (found.things, found.effects) == (expected.things, expected.effects), f"killed {when} act {point}"


def test_the_same_seed_gives_the_same_story(tmp_path: Path) -> None:
    stories = []
    for name in ("one", "two"):
        migration = start(tmp_path / name)
        migration.run(wait=True)
        stories.append([(event.kind, event.at, event.task, event.row) for event in migration.events])
    assert stories[0] == stories[1]


def test_a_plan_writes_nothing_anywhere(tmp_path: Path) -> None:
    migration = start(tmp_path / "plan")
    head = migration.journal()
    before = head.head()
    migration.plan()
    assert head.head() == before
    assert migration.remote.effects == {}
    head.close()
