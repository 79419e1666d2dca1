"""Taking back: what comes back, what stops it, what refuses it – and the laws that hold however it is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.contract import ExitCode, InDoubt, Rejected, Unreachable
from engine.run import undo, words
from engine.run.journal import Journal
from tests.run.conftest import INVENTORY, Migration
from tests.run.memory import Thing
from tests.run.test_laws import Killed, killing

ANNA, BO = "anna@acme.example", "bo@acme.example"
PLAYBOOK = """
- name: Mailboxes
  targets: mailboxes
  tasks:
    - name: Made
      ladder: {name: "{{ target }}", state: created}
    - name: Started
      ladder: {name: "{{ target }}", state: started}
    - name: Set
      thing: {name: "{{ target }}"}
      register: set
    - name: Told
      letter: {id: hello, to: "{{ target }}"}
    - name: Other
      thing: {name: "other-{{ target }}", value: "{{ set.value }}"}
"""
BEFORE = {"value": "as it was", "foreign": "kept"}


def start(folder: Path) -> Migration:
    folder.mkdir(exist_ok=True)
    (folder / "inventory.yml").write_text(INVENTORY, encoding="utf-8")
    migration = Migration(folder)
    migration.write(PLAYBOOK)
    migration.remote.things = {f"thing/{ANNA}": dict(BEFORE)}
    return migration


def done(folder: Path) -> Migration:
    migration = start(folder)
    assert migration.run(wait=True).exit_code == ExitCode.CONVERGED
    return migration


def things(migration: Migration, name: str = ANNA) -> dict[str, object]:
    return {key: value for key, value in migration.remote.things.items() if name in key and "letter" not in key}


def words_of(plan: undo.UndoPlan) -> list[tuple[str, str]]:
    return [(line.task.partition(" / ")[2], line.word) for line in plan.lines]


def test_everything_of_a_row_comes_back_newest_first_and_only_what_was_ours(tmp_path: Path) -> None:
    migration = done(tmp_path)
    assert words_of(migration.undo_plan(ANNA)) == [
        ("Other", "restore"), ("Told", "stays"), ("Set", "restore"), ("Started", "restore"), ("Made", "restore")]
    outcome = migration.undo(ANNA)
    assert outcome is not None and (outcome.exit_code, outcome.undone) == (ExitCode.CONVERGED, 4)
    assert things(migration) == {f"thing/{ANNA}": BEFORE}
    assert things(migration, BO) != {}, "another row is not touched"
    told = [event.task.partition(" / ")[2] for event in migration.events if event.kind == "undone"]
    assert told == ["Other", "Set", "Started", "Made"]


def test_a_preview_writes_nothing(tmp_path: Path) -> None:
    migration = done(tmp_path)
    journal = migration.journal()
    head, effects = journal.head(), dict(migration.remote.effects)
    shown = migration.undo_plan(ANNA, BO)
    assert shown.lines and (journal.head(), dict(migration.remote.effects)) == (head, effects)
    journal.close()


def test_a_second_undo_finds_nothing_and_a_run_does_not_do_it_again(tmp_path: Path) -> None:
    migration = done(tmp_path)
    migration.undo(ANNA)
    effects = dict(migration.remote.effects)
    assert migration.undo_plan(ANNA).count("restore") == 0
    again = migration.undo(ANNA)
    assert again is not None and (again.exit_code, again.undone) == (ExitCode.CONVERGED, 0)
    assert migration.run(wait=False).exit_code == ExitCode.PARKED_ON_PERSON  # on hold
    assert dict(migration.remote.effects) == effects


def test_released_it_is_done_again_only_with_new_consent(tmp_path: Path) -> None:
    migration = done(tmp_path)
    migration.undo(ANNA)
    migration.say(words.release, rows=(ANNA,))
    assert migration.run(consent=None).exit_code == ExitCode.PARKED_ON_PERSON
    assert things(migration) == {f"thing/{ANNA}": BEFORE}
    assert migration.run(wait=True).exit_code == ExitCode.CONVERGED
    assert migration.remote.things[f"thing/{ANNA}"]["value"] == "on"
    migration.undo(ANNA)
    assert things(migration) == {f"thing/{ANNA}": BEFORE}


def test_back_to_and_with_one_task(tmp_path: Path) -> None:
    migration = done(tmp_path)
    outcome = migration.undo(ANNA, task="Set")
    assert outcome is not None and outcome.undone == 2
    assert things(migration) == {f"thing/{ANNA}": BEFORE, f"ladder/{ANNA}": {"state": "started"}}
    everyone = migration.undo(task="Other")
    assert everyone is not None and everyone.undone == 2


def test_rows_of_several_kinds_under_one_name_are_each_taken_back(tmp_path: Path) -> None:
    migration = start(tmp_path)
    (tmp_path / "inventory.yml").write_text(INVENTORY.replace("batch: B", "batch: acme.example.b").replace(
        "acme.example.b1", "acme.example"), encoding="utf-8")
    migration.write("".join(f"""
- name: Of {kind}
  targets: {kind}
  tasks:
    - name: One
      thing: {{name: "one-{kind}-{{{{ target }}}}"}}
    - name: Two
      thing: {{name: "two-{kind}-{{{{ target }}}}"}}
""" for kind in ("domains", "batches")))
    assert migration.run().changed == 2 + 4
    outcome = migration.undo("acme.example")
    assert outcome is not None and outcome.undone == 4
    assert len(migration.remote.things) == 1 + 2, "Anna's own, and the other batch"


def test_it_stops_at_what_cannot_be_taken_back_and_leaves_what_is_older(tmp_path: Path) -> None:
    migration = done(tmp_path)
    migration.remote.final[f"thing/{ANNA}"] = "the mailbox is deleted"
    assert words_of(migration.undo_plan(ANNA)) == [("Other", "restore"), ("Told", "stays"), ("Set", "stops")]
    outcome = migration.undo(ANNA)
    assert outcome is not None and outcome.exit_code == ExitCode.REFUSED
    assert [(line.row, line.text) for line in outcome.stopped] == [(ANNA, "the mailbox is deleted")]
    assert f"ladder/{ANNA}" in migration.remote.things and f"thing/other-{ANNA}" not in migration.remote.things


def test_a_row_of_which_nothing_is_taken_back_is_not_held(tmp_path: Path) -> None:
    migration = done(tmp_path)
    migration.remote.final[f"thing/other-{ANNA}"] = "gone"
    outcome = migration.undo(ANNA)
    assert outcome is not None and (outcome.exit_code, outcome.undone) == (ExitCode.REFUSED, 0)
    assert migration.run().exit_code == ExitCode.CONVERGED


def test_what_somebody_changed_since_is_refused_by_field_until_it_is_consented_to(tmp_path: Path) -> None:
    migration = done(tmp_path)
    migration.remote.things[f"thing/other-{ANNA}"] = {"value": "mine"}
    line = migration.undo_plan(ANNA).lines[0]
    assert (line.word, line.text) == ("changed", "somebody has changed it since: value: on → mine")
    outcome = migration.undo(ANNA)
    assert outcome is not None and outcome.exit_code == ExitCode.PARKED_ON_PERSON and outcome.undone == 0
    assert migration.remote.things[f"thing/other-{ANNA}"] == {"value": "mine"}
    forced = migration.undo(ANNA, over_changes=True)
    assert forced is not None and forced.exit_code == ExitCode.CONVERGED
    assert things(migration) == {f"thing/{ANNA}": BEFORE}


def test_what_was_as_wanted_before_us_was_not_ours(tmp_path: Path) -> None:
    migration = start(tmp_path)
    migration.remote.things[f"thing/{ANNA}"] = {"value": "on"}
    migration.run(wait=True)
    assert "Set" not in [task for task, _ in words_of(migration.undo_plan(ANNA))]
    migration.undo(ANNA)
    assert things(migration) == {f"thing/{ANNA}": {"value": "on"}}


def test_without_consent_nothing_is_taken_back_or_held(tmp_path: Path) -> None:
    migration = done(tmp_path)
    before = things(migration)
    assert migration.undo(ANNA, consent=lambda plan: False) is None
    assert things(migration) == before
    assert migration.run().exit_code == ExitCode.CONVERGED


def test_the_red_button_stops_it(tmp_path: Path) -> None:
    from engine.contract import Refusal

    migration = done(tmp_path)
    migration.say(words.hold)
    with pytest.raises(Refusal) as refused:
        migration.undo(ANNA)
    assert refused.value.problem.next_command == "mailmove release"
    assert f"thing/other-{ANNA}" in migration.remote.things


def test_faults_are_tried_again_or_told(tmp_path: Path) -> None:
    migration = done(tmp_path)
    migration.remote.act_faults[f"thing/other-{ANNA}"] = [Unreachable("memory", "busy"), InDoubt("memory", "cut")]
    outcome = migration.undo(ANNA, wait=True)
    assert outcome is not None and outcome.exit_code == ExitCode.CONVERGED
    assert things(migration) == {f"thing/{ANNA}": BEFORE}
    migration.remote.act_faults[f"thing/other-{BO}"] = [Rejected("memory", "no", remedy="Ask.")]
    failed = migration.undo(BO)
    assert failed is not None and failed.exit_code == ExitCode.SOME_FAILED
    assert [line.text for line in failed.parked] == ["memory: no. Ask."]
    assert migration.undo(BO) is not None and things(migration, BO) == {}


def test_a_handover_is_settled_by_reading_and_then_the_rest_comes_back(tmp_path: Path) -> None:
    migration = done(tmp_path)
    migration.remote.by_hand.add(f"thing/other-{ANNA}")
    outcome = migration.undo(ANNA)
    assert outcome is not None and outcome.exit_code == ExitCode.PARKED_ON_PERSON
    assert f"thing/{ANNA}" in migration.remote.things
    assert migration.undo(ANNA) is not None
    assert sum(event.kind == "undone" for event in migration.events) == 0
    del migration.remote.things[f"thing/other-{ANNA}"]
    finished = migration.undo(ANNA)
    assert finished is not None and finished.exit_code == ExitCode.CONVERGED
    assert things(migration) == {f"thing/{ANNA}": BEFORE}


def test_an_act_the_playbook_no_longer_says_cannot_be_taken_back(tmp_path: Path) -> None:
    migration = done(tmp_path)
    migration.write(PLAYBOOK.replace('value: "{{ set.value }}"', "value: else"))
    shown = migration.undo_plan(ANNA)
    assert words_of(shown) == [("Other", "stops")]
    assert "the playbook no longer says" in shown.lines[0].text
    outcome = migration.undo(ANNA)
    assert outcome is not None and outcome.exit_code == ExitCode.REFUSED and outcome.undone == 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["journal", "act"])
def test_killed_at_every_write_the_next_undo_arrives(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, when: str) -> None:
    point = 0
    while True:
        point += 1
        migration = done(tmp_path / f"{what}-{when}-{point}")
        with monkeypatch.context() as patch:
            owner: type = Journal if what == "journal" else Thing
            name = "append" if what == "journal" else "restore"
            act: Callable[..., object] = getattr(owner, name)
            patch.setattr(owner, name, killing(act, point, when))
            try:
                migration.undo(ANNA, wait=True)
            except Killed:
                pass
            else:
                break
        outcome = migration.undo(ANNA, wait=True)
        assert outcome is not None and outcome.exit_code == ExitCode.CONVERGED, point
        assert things(migration) == {f"thing/{ANNA}": BEFORE}, f"killed {when} {what} {point}"
        assert migration.undo_plan(ANNA).count("restore") == 0
    assert point > 4
