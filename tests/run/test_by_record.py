"""What is done is not compared with reality for ever: superseded, built upon, approved and begun – and what is not."""

from __future__ import annotations

import pytest

from engine.contract import ExitCode, InDoubt, Rejected
from engine.run import words
from tests.run.conftest import Migration
from tests.run.memory import Observed

HERE = "acme.example"


def test_a_later_task_supersedes_also_while_it_cannot_be_bound(migration: Migration) -> None:
    """Its value is another task's, which is read after the first one is looked at."""
    migration.write("""
    - name: Low and high
      targets: domains
      tasks:
        - name: Low
          thing: {name: "{{ target }}", value: low}
        - name: Asked
          thing: {name: "asked-{{ target }}", value: high}
          register: asked
        - name: High
          thing: {name: "{{ target }}", value: "{{ asked.value }}"}
    """)
    assert migration.run().changed == 3
    again = migration.run()
    assert (again.exit_code, again.changed, again.counts) == (ExitCode.CONVERGED, 0, {"superseded": 1, "done": 2})
    assert migration.remote.things[f"thing/{HERE}"] == {"value": "high"}


def test_an_approval_of_a_batch_is_spent_once_one_of_its_mailboxes_was_begun(migration: Migration) -> None:
    migration.write("""
    - name: Batches
      targets: batches
      tasks:
        - name: Go
          approval: {id: go, question: "Go for {{ target }}?"}
    - name: Mailboxes
      targets: mailboxes
      needs: [Batches]
      tasks:
        - name: The thing is on
          thing: {name: "{{ target }}"}
    """)
    migration.run()
    migration.say(words.approve, task="Go", rows=["B1"])
    migration.remote.act_faults["thing/bo@acme.example"] = [Rejected("memory", "no")]
    assert migration.run().counts == {"done": 2, "failed": 1, "asking": 1, "pending": 1}
    migration.later(days=3)
    assert migration.run().counts == {"done": 3, "asking": 1, "pending": 1}, "begun, and gone on with"
    migration.say(words.approve, task="Go", rows=["B2"])
    migration.later(days=3)
    assert migration.run().counts == {"done": 3, "asking": 1, "pending": 1}, "not used within a day: asked again"


def test_a_proof_is_asked_for_again_until_something_is_built_upon_it(
        migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Observed, "lasting", True)
    migration.write("""
    - name: Proof
      targets: domains
      tasks:
        - name: Seen
          observed: {name: "{{ target }}"}
        - name: Go
          approval: {id: go, question: Go?}
        - name: The thing is on
          thing: {name: "{{ target }}"}
    """)
    things = migration.remote.things
    things[f"observed/{HERE}"] = {"value": "on"}
    assert migration.run().counts == {"done": 1, "asking": 1, "pending": 1}
    things[f"observed/{HERE}"] = {"value": "off"}
    assert migration.run().counts == {"waiting": 1, "pending": 2}
    things[f"observed/{HERE}"] = {"value": "on"}
    migration.later(hours=1)
    migration.run()
    migration.say(words.approve, task="Go")
    assert migration.run().exit_code == ExitCode.CONVERGED
    things[f"observed/{HERE}"] = {"value": "off"}
    assert migration.run().exit_code == ExitCode.CONVERGED, "it has served its purpose"


def test_what_was_there_before_us_is_demanded_back_of_an_act_half_done_and_no_longer_of_a_settled_one(
        migration: Migration) -> None:
    migration.write("""
    - name: Whole
      targets: domains
      tasks:
        - name: On
          whole: {name: "{{ target }}"}
    """)
    key, things = f"whole/{HERE}", migration.remote.things
    things[key] = {"value": "off", "foreign": "kept"}
    migration.remote.act_faults[key] = [InDoubt("memory", "the line went dead")]
    migration.run()
    things[key] = {"value": "on", "foreign": "lost"}
    migration.later(minutes=2)
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert things[key] == {"value": "on", "foreign": "kept"}
    things[key]["foreign"] = "another's"
    again = migration.run()
    assert (again.exit_code, again.changed, things[key]["foreign"]) == (ExitCode.CONVERGED, 0, "another's")
