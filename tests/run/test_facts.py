"""What the guards are told of a run: from its phases and its journal, while it is under way."""

from __future__ import annotations

from typing import Any

import pytest

from engine.contract import Outcome, Program, Rejected
from engine.run import execute, words
from engine.run.facts import JournalFacts
from tests.run.conftest import Migration

ANNA, BO, CEM = "anna@acme.example", "bo@acme.example", "cem@acme.example"
PLAYBOOK = """
- name: Things
  targets: mailboxes
  tasks:
    - name: Low
      thing: {name: "{{ target }}", value: low}
      register: low
    - name: Go
      approval: {id: go, question: Go?}
    - name: Placed
      ladder: {name: "{{ target }}"}
    - name: High
      thing: {name: "{{ target }}", value: high}
"""


def test_what_a_guard_is_told_of_a_run(migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    migration.write(PLAYBOOK)
    migration.remote.things[f"thing/{ANNA}"] = {"value": "as it was"}
    migration.remote.act_faults[f"thing/{CEM}"] = [Rejected("memory", "no")]
    migration.run()
    migration.say(words.approve, task="Go", rows=[ANNA])
    migration.say(words.waive, task="Low", rows=[CEM], reason="not needed")
    began = migration.clock.now()
    migration.later(hours=1)

    def asked(facts: JournalFacts, program: Program) -> None:
        placed = program.templates[2]
        assert facts.proven("thing", ANNA) and facts.proven("ladder", ANNA), "superseded is done as well"
        assert facts.proven("thing", BO) and not facts.proven("ladder", BO) and not facts.proven("thing", CEM)
        assert not facts.proven("letter", ANNA), "no task of that module"
        assert facts.held_since("thing", ANNA) == began, "of the first of its tasks"
        assert facts.held_since("thing", CEM) is None and facts.held_since("ladder", BO) is None
        assert facts.before("thing", ANNA) == {"value": "as it was"} and facts.before("letter", ANNA) is None
        assert facts.last("thing", ANNA) == {"value": "high"} and facts.last("thing", BO) == {"value": "low"}
        assert facts.last("thing", CEM) is None
        assert facts.count_settled("thing") == 2 + 1 and facts.count_settled("ladder") == 1
        assert facts.waived("mailboxes", CEM) and not facts.waived("mailboxes", BO)
        assert facts.waived("mailboxes", CEM, "ladder", "thing") and not facts.waived("mailboxes", CEM, "ladder")
        assert not facts.waived("batches", CEM, "thing")
        assert facts.approved(placed, ANNA) and not facts.approved(placed, BO)
        assert not facts.approved(program.templates[0], ANNA), "none stands before it"
        assert not facts.overridden("mx_back", ANNA)

    end, times = execute.Run._end, []

    def ends(run: execute.Run, *given: Any) -> Outcome:  # while its journal is still open
        times.append(asked(run.facts, run.program))
        return end(run, *given)

    monkeypatch.setattr(execute.Run, "_end", ends)
    migration.run()
    assert len(times) == 1
