"""The engine's promises, one by one: converge, resume, wait, ask, supersede, isolate."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.contract import Denied, ExitCode, InDoubt, Refusal, Rejected, Unreachable
from engine.run import standing, words
from engine.run.floor import TRY_AGAIN
from tests.run.conftest import ONE, Migration


def test_apply_then_read_equals_want_and_a_second_run_changes_nothing(migration: Migration) -> None:
    migration.write(ONE)
    shown = migration.plan()
    assert migration.groups(shown) == [("The thing is on", "create", 3)]
    assert migration.remote.effects == {}

    first = migration.run()
    assert (first.exit_code, first.changed, first.counts) == (ExitCode.CONVERGED, 3, {"done": 3})
    assert first.predictions == {"made": 3, "kept": 3, "uncovered": 0, "broken": 0, "open": 0}

    second = migration.run()
    assert (second.exit_code, second.changed) == (ExitCode.CONVERGED, 0)
    assert set(migration.remote.effects.values()) == {1}
    assert migration.groups(migration.plan()) == [("The thing is on", "same", 3)]


def test_nothing_is_done_without_consent(migration: Migration) -> None:
    migration.write(ONE)
    outcome = migration.run(consent=lambda plan: False)
    assert outcome.exit_code == ExitCode.PARKED_ON_PERSON
    assert migration.remote.effects == {}


def test_a_failed_row_never_blocks_the_others_and_the_next_run_tries_it_again(migration: Migration) -> None:
    migration.write(ONE)
    migration.remote.act_faults["thing/bo@acme.example"] = [Rejected("memory", "no", code="E1", remedy="mend it")]
    outcome = migration.run()
    assert (outcome.exit_code, outcome.counts) == (ExitCode.SOME_FAILED, {"done": 2, "failed": 1})
    failed = next(event for event in migration.events if event.kind == "failed")
    assert (failed.row, failed.fields["remedy"]) == ("bo@acme.example", "mend it")
    assert {event.row: event.fields["ok"] for event in migration.events if event.kind == "acted"} == {
        "anna@acme.example": True, "bo@acme.example": False, "cem@acme.example": True}
    assert migration.run().exit_code == ExitCode.CONVERGED


def test_a_failed_read_is_never_absent(migration: Migration) -> None:
    migration.write(ONE)
    migration.remote.read_faults["thing/bo@acme.example"] = Unreachable("memory", "no answer")
    outcome = migration.run()
    assert outcome.exit_code == ExitCode.PARKED_ON_TIME
    assert "thing/bo@acme.example create" not in migration.remote.effects
    migration.remote.read_faults.clear()
    migration.later(minutes=2)
    assert migration.run().exit_code == ExitCode.CONVERGED


@pytest.mark.parametrize("failing", ["thing/bo@acme.example", "*"], ids=["a row", "all"])
def test_a_read_is_not_asked_for_again_before_the_service_wants_it(migration: Migration, failing: str) -> None:
    migration.write(ONE)
    migration.remote.read_faults[failing] = Unreachable("memory", "busy", remedy="Ask the host.", retry_after=7_200)
    began = migration.clock.now()
    outcome = migration.run()
    assert outcome.next_wake == began + timedelta(hours=2)
    assert migration.run(wait=True).exit_code == ExitCode.SOME_FAILED
    assert migration.clock.now() - began == timedelta(hours=2) * len(TRY_AGAIN)
    journal = migration.journal()
    assert {each.remedy for each in standing.standing_still(journal)} == {"Ask the host."}
    journal.close()


def test_what_was_long_done_does_not_stand_still_for_ever_after_one_look_that_failed(migration: Migration) -> None:
    """Found by the simulation (seed 4): status told of a wait, after a run that had ended converged."""
    migration.write(ONE)
    migration.run()
    journal = migration.journal()
    for fault in (Unreachable("memory", "busy"), Denied("memory", "role missing")):
        migration.remote.read_faults["thing/bo@acme.example"] = fault
        assert migration.run().exit_code != ExitCode.CONVERGED
        assert [each.row for each in standing.standing_still(journal)] == ["bo@acme.example"]
        migration.remote.read_faults.clear()
        migration.later(minutes=2)
        again = migration.run()
        assert (again.exit_code, again.changed) == (ExitCode.CONVERGED, 0)
        assert standing.standing_still(journal) == []
    journal.close()


def test_a_denied_act_names_itself(migration: Migration) -> None:
    migration.write(ONE)
    migration.remote.act_faults["thing/bo@acme.example"] = [Denied("memory", "role missing")]
    assert migration.run().exit_code == ExitCode.SOME_FAILED


@pytest.mark.parametrize("module", ["thing", "ladder"])
def test_an_answer_that_never_came_is_looked_at_and_not_done_twice(migration: Migration, module: str) -> None:
    migration.write(ONE.replace("thing:", f"{module}:"))
    family = "thing" if module == "thing" else "ladder"
    migration.remote.act_faults[f"{family}/bo@acme.example"] = [InDoubt("memory", "the line went dead")]
    outcome = migration.run(wait=True)
    assert outcome.exit_code == ExitCode.CONVERGED
    assert migration.remote.effects[f"{family}/bo@acme.example create"] == 1


def test_a_row_needs_only_its_own_row_of_the_task_before(migration: Migration) -> None:
    migration.write("""
    - name: Two steps
      targets: mailboxes
      tasks:
        - name: First
          thing: {name: "1-{{ target }}"}
        - name: Second
          thing: {name: "2-{{ target }}"}
    """)
    migration.remote.act_faults["thing/1-bo@acme.example"] = [Rejected("memory", "no")]
    outcome = migration.run()
    assert outcome.counts == {"done": 4, "failed": 1, "pending": 1}


def test_related_rows_and_barriers(migration: Migration) -> None:
    migration.write("""
    - name: Mailboxes
      targets: mailboxes
      tasks:
        - name: Ready
          thing: {name: "{{ target }}"}
    - name: Batches
      targets: batches
      needs: [Mailboxes]
      tasks:
        - name: Batch
          ladder: {name: "{{ target }}"}
    - name: Domains
      targets: domains
      needs: [{name: Batches, rows: all}]
      tasks:
        - name: Domain
          thing: {name: "{{ target }}"}
    """)
    migration.remote.act_faults["thing/cem@acme.example"] = [Rejected("memory", "no")]
    outcome = migration.run()
    assert "ladder/B1 create" in migration.remote.effects
    assert "ladder/B2 create" not in migration.remote.effects
    assert "thing/acme.example create" not in migration.remote.effects
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert "thing/acme.example create" in migration.remote.effects
    assert outcome.exit_code == ExitCode.SOME_FAILED


SUPERSEDING = """
- name: One thing over time
  targets: batches
  tasks:
    - name: Created
      ladder: {name: "{{ target }}", state: created}
    - name: Started
      ladder: {name: "{{ target }}", state: started}
    - name: Removed
      ladder: {name: "{{ target }}", state: absent}
"""


def test_several_tasks_over_time_on_one_thing(migration: Migration) -> None:
    migration.write(SUPERSEDING)
    assert migration.groups(migration.plan()) == [
        ("Created", "create", 2), ("Started", "change", 2), ("Removed", "delete", 2)]
    first = migration.run()
    assert (first.exit_code, first.changed) == (ExitCode.CONVERGED, 6)
    assert migration.remote.things == {}
    second = migration.run()
    assert (second.exit_code, second.changed) == (ExitCode.CONVERGED, 0)
    assert second.counts == {"superseded": 4, "done": 2}


def test_names_order_and_comments_are_labels(migration: Migration) -> None:
    migration.write(SUPERSEDING)
    migration.run()
    migration.write("# a comment\n" + SUPERSEDING.replace("Created", "Made").replace(
        '{name: "{{ target }}", state: started}', '{state: started, name: "{{ target }}"}'))
    again = migration.run(consent=None)
    assert (again.exit_code, again.changed) == (ExitCode.CONVERGED, 0)


def test_a_changed_meaning_is_shown_before_anything_runs_and_needs_consent(migration: Migration) -> None:
    migration.write(ONE)
    migration.run()
    migration.write(ONE.replace('"{{ target }}"}', '"{{ target }}", value: "off"}'))
    assert migration.groups(migration.plan()) == [("The thing is on", "change", 3)]
    assert migration.run(consent=None).exit_code == ExitCode.PARKED_ON_PERSON
    assert migration.run().changed == 3


def test_drift_is_not_repaired_in_silence(migration: Migration) -> None:
    migration.write(ONE)
    migration.run()
    migration.remote.things["thing/bo@acme.example"]["value"] = "off"
    outcome = migration.run(consent=None)
    assert outcome.exit_code == ExitCode.PARKED_ON_PERSON
    assert migration.remote.things["thing/bo@acme.example"]["value"] == "off"
    assert migration.run().changed == 1


WAIT = """
- name: Wait
  targets: domains
  tasks:
    - name: Lowered
      thing: {name: "ttl-{{ target }}"}
      register: ttl
    - name: Switched
      thing: {name: "mx-{{ target }}"}
      not_before: "{{ ttl.held_since + hours(72) }}"
"""


def test_a_wait_is_a_row_and_counts_from_the_first_satisfying_read(migration: Migration) -> None:
    migration.write(WAIT)
    first = migration.run()
    assert first.exit_code == ExitCode.PARKED_ON_TIME
    assert first.next_wake is not None and (first.next_wake - migration.clock.now()).total_seconds() == 72 * 3600
    migration.later(hours=71)
    assert migration.run().exit_code == ExitCode.PARKED_ON_TIME
    migration.later(hours=1)
    assert migration.run().exit_code == ExitCode.CONVERGED


@pytest.mark.requirement("B-42")
def test_the_wait_starts_again_when_what_it_counts_from_was_lost(migration: Migration) -> None:
    migration.write(WAIT)
    migration.run()
    migration.later(hours=71)
    migration.remote.things["thing/ttl-acme.example"]["value"] = "off"
    assert migration.run(consent=None).exit_code == ExitCode.PARKED_ON_PERSON
    migration.run()
    migration.later(hours=2)
    assert migration.run().exit_code == ExitCode.PARKED_ON_TIME
    assert "thing/mx-acme.example create" not in migration.remote.effects


def test_waiting_in_the_foreground_ends_converged(migration: Migration) -> None:
    migration.write(WAIT)
    assert migration.run(wait=True).exit_code == ExitCode.CONVERGED


def test_a_window_gates_the_start_of_acts_only(migration: Migration) -> None:
    migration.write(ONE + "      window: night\n")
    migration.remote.things["thing/bo@acme.example"] = {"value": "on"}
    outcome = migration.run()
    assert outcome.counts == {"done": 1, "waiting": 2}
    assert outcome.next_wake is not None and outcome.next_wake.isoformat() == "2026-03-06T20:00:00+00:00"


APPROVAL = """
- name: Ask
  targets: mailboxes
  tasks:
    - name: Go
      approval: {id: go, question: "Go for {{ target }}?", roles: [lead]}
    - name: The thing is on
      thing: {name: "{{ target }}"}
"""


def test_an_approval_is_asked_once_per_row_and_remembered(migration: Migration) -> None:
    migration.write(APPROVAL)
    assert migration.run().exit_code == ExitCode.PARKED_ON_PERSON
    assert migration.remote.effects == {}
    journal = migration.journal()
    words.approve(journal, task="Go", rows=["anna@acme.example"], by="kim", reason="agreed")
    journal.close()
    assert migration.run().counts == {"done": 2, "asking": 2, "pending": 2}
    assert migration.remote.effects == {"thing/anna@acme.example create": 1}


def test_an_approval_that_was_not_used_in_time_is_asked_again(migration: Migration) -> None:
    migration.write(APPROVAL.replace('"{{ target }}"}\n', '"{{ target }}"}\n      window: night\n'))
    migration.run()
    journal = migration.journal()
    words.approve(journal, task="Go", rows=["anna@acme.example"], by="kim", reason="agreed")
    journal.close()
    assert migration.run().counts == {"done": 1, "asking": 2, "waiting": 1, "pending": 2}
    migration.later(days=12)  # past the window it served
    assert migration.run().counts["asking"] == 3
    assert migration.remote.effects == {}


def test_an_approval_that_a_wait_outlasts_is_told_beforehand_and_asked_for_again(migration: Migration) -> None:
    migration.write("""
        - name: Ask
          targets: mailboxes
          tasks:
            - name: Low
              thing: {name: "low-{{ target }}"}
              register: low
            - name: Go
              approval: {id: go, question: Go?}
            - name: The thing is on
              thing: {name: "{{ target }}"}
              not_before: "{{ low.held_since + hours(48) }}"
        """)
    anna = "anna@acme.example"
    migration.run()
    migration.say(words.approve, task="Go", rows=[anna])
    migration.run(limit=(anna,))
    told = ("«Go» is approved until 2026-03-03 08:00 UTC only, and is asked for again when the wait is over")
    journal = migration.journal()
    waits = {each.row: each for each in standing.parked(journal, names=(anna,)) if each.what == "wait"}
    journal.close()
    assert told in waits[anna].reason
    assert any(told in entry.text for entry in migration.plan().calendar)
    migration.later(hours=49)
    assert migration.run().counts["asking"] == 3
    migration.say(words.approve, task="Go", rows=[anna])
    migration.run()
    assert migration.remote.things[f"thing/{anna}"] == {"value": "on"}


def test_a_handover_is_settled_by_reading(migration: Migration) -> None:
    migration.write(ONE)
    migration.remote.by_hand.add("thing/bo@acme.example")
    outcome = migration.run()
    assert (outcome.exit_code, outcome.counts) == (ExitCode.PARKED_ON_PERSON, {"done": 2, "handed": 1})
    assert migration.run().counts == {"done": 2, "handed": 1}
    journal = migration.journal()
    asked = standing.status(journal, migration.clock.now()).parked
    journal.close()
    assert [(row.row, row.handover and row.handover["text"]) for row in asked] == [
        ("bo@acme.example", "set thing/bo@acme.example to on")]
    migration.remote.things["thing/bo@acme.example"] = {"value": "on"}
    assert migration.run().exit_code == ExitCode.CONVERGED


def test_waived_and_skipped_count_as_met(migration: Migration) -> None:
    migration.write("""
    - name: Two
      targets: mailboxes
      tasks:
        - name: First
          thing: {name: "1-{{ target }}"}
          when: "{{ row.name != 'Bo' }}"
        - name: Second
          thing: {name: "2-{{ target }}"}
    """)
    migration.remote.act_faults["thing/1-anna@acme.example"] = [Rejected("memory", "no")]
    assert migration.run().counts == {"done": 3, "skipped": 1, "failed": 1, "pending": 1}
    journal = migration.journal()
    words.waive(journal, task="First", rows=["anna@acme.example"], by="kim", reason="not needed")
    journal.close()
    assert migration.run().counts == {"done": 4, "skipped": 1, "waived": 1}


NOTED = """
- name: Letters
  targets: mailboxes
  tasks:
    - name: The note is sent
      letter: {id: note, to: "{{ target }}"}
      register: noted
    - name: Its number is kept
      thing: {name: "{{ target }}", value: "{{ noted.sent | text }}"}
"""


def test_what_needs_a_value_of_a_waived_task_stands_in_status_and_can_be_waived(migration: Migration) -> None:
    """Found by the simulation: exit code 12, and nothing in status to answer."""
    migration.write(NOTED)
    migration.remote.act_faults["letter/note/anna@acme.example"] = [Rejected("memory", "no such address")]
    migration.run()
    migration.say(words.waive, task="The note is sent", rows=["anna@acme.example"], reason="left")
    assert migration.run().exit_code == ExitCode.PARKED_ON_PERSON
    told = [event for event in migration.events if event.kind == "parked"]
    assert [(event.row, event.fields["what"]) for event in told] == [("anna@acme.example", "unknown")]
    journal = migration.journal()
    (stands,) = standing.status(journal, migration.clock.now()).parked
    assert (stands.task, stands.phase, stands.what) == ("Letters / Its number is kept", "blocked", "unknown")
    assert stands.reason == "«The note is sent» was waived, so there is no noted of it"
    why = standing.why(journal, "anna@acme.example", None, migration.clock.now())
    assert [line.command for line in why if line.what == "stands" and line.task == stands.task] == [
        'mailmove waive "Its number is kept" anna@acme.example --with-followers --reason TEXT']
    head = journal.head()
    assert migration.run().exit_code == ExitCode.PARKED_ON_PERSON
    assert [each.kind for each in journal.records(after=head[0])] == ["run", "ended"]  # told once
    migration.say(words.waive, task="Its number is kept", rows=["anna@acme.example"], reason="there is none")
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert standing.standing_still(journal) == []
    journal.close()


CHAIN = NOTED + """
      register: kept
    - name: It is counted from
      thing: {name: "from {{ target }}"}
      not_before: "{{ kept.held_since + minutes(15) }}"
    - name: Either way
      thing: {name: "also {{ target }}", value: "{{ noted.sent | default('none') | text }}"}
"""


@pytest.mark.parametrize("told", [False, True], ids=["before anything of it is blocked", "when the first is blocked"])
def test_one_word_waives_a_task_and_what_can_never_be_done_without_it(migration: Migration, told: bool) -> None:
    """Found by the simulation (seed 176): the domain was waived, and what proves it stood still for ever."""
    migration.write(CHAIN)
    migration.remote.act_faults["letter/note/anna@acme.example"] = [Rejected("memory", "no such address")]
    migration.run()
    journal, word = migration.journal(), {"by": "kim", "reason": "left", "program": migration.program()}
    if told:
        words.waive(journal, task="The note is sent", rows=["anna@acme.example"], by="kim", reason="left")
        assert migration.run().exit_code == ExitCode.PARKED_ON_PERSON
        said = words.waive(journal, task="Its number is kept", with_followers=True, **word)
        assert said.followers == ("Letters / It is counted from",)
    else:
        said = words.waive(journal, task="The note is sent", with_followers=True, **word)
        assert said.followers == ("Letters / Its number is kept", "Letters / It is counted from")
    outcome = migration.run()
    waived = [(each.task, each.body.get("follows", "")) for each in journal.records(kinds=("waived",))]
    assert waived[-1] == ("Letters / It is counted from", "Letters / " + ("Its number is kept" if told else
                                                                           "The note is sent"))
    assert (outcome.counts["waived"], outcome.counts.get("blocked")) == (3, None), migration.events
    assert "thing/also anna@acme.example create" in migration.remote.effects
    journal.close()


@pytest.mark.parametrize("mended", [
    """{name: "{{ target }}", value: "{{ noted.sent | default('none') | text }}"}""",
    """{name: "{{ target }}", value: "{{ noted.sent | text }}"}
      when: "{{ (noted.sent | default('') | text) != '' }}\""""])
def test_what_lacked_a_value_stands_still_no_more_once_it_has_one_or_needs_none(
        migration: Migration, mended: str) -> None:
    migration.write(NOTED)
    migration.remote.act_faults["letter/note/anna@acme.example"] = [Rejected("memory", "no such address")]
    migration.run()
    migration.say(words.waive, task="The note is sent", rows=["anna@acme.example"], reason="left")
    migration.run()
    journal = migration.journal()
    assert [each.what for each in standing.standing_still(journal)] == ["unknown"]
    migration.write(NOTED.replace("""{name: "{{ target }}", value: "{{ noted.sent | text }}"}""", mended))
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert standing.standing_still(journal) == []
    assert sum(standing.status(journal, migration.clock.now()).counts.values()) == 6
    journal.close()


def test_a_letter_that_a_person_said_was_sent_has_no_more_to_tell(migration: Migration) -> None:
    migration.write(NOTED.replace("noted.sent | text", "noted.number | default('none') | text"))
    migration.remote.act_faults["letter/note/anna@acme.example"] = [InDoubt("memory", "the line went dead")]
    migration.run()
    migration.later(minutes=30)
    migration.run()
    migration.say(words.resolve, task="The note is sent", rows=["anna@acme.example"], done=True, evidence="seen")
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert migration.remote.things["thing/anna@acme.example"] == {"value": "none"}


def test_default_does_not_answer_for_what_is_still_to_come(migration: Migration) -> None:
    migration.write(NOTED.replace("noted.sent | text", "noted.sent | default('none') | text"))
    migration.remote.act_faults["letter/note/anna@acme.example"] = [Rejected("memory", "no such address")]
    assert ("Its number is kept", "later", 3) in migration.groups(migration.plan())
    assert migration.run().counts == {"done": 4, "failed": 1, "pending": 1}
    assert "thing/anna@acme.example" not in migration.remote.things


def test_hold_is_the_red_button(migration: Migration) -> None:
    migration.write(ONE)
    journal = migration.journal()
    words.hold(journal, rows=[], by="kim", reason="stop")
    journal.close()
    assert migration.run().counts == {"held": 3}
    journal = migration.journal()
    words.release(journal, rows=[], by="kim", reason="go on")
    journal.close()
    assert migration.run().exit_code == ExitCode.CONVERGED


def test_a_letter_is_sent_once_and_what_cannot_be_told_is_asked(migration: Migration) -> None:
    migration.write("""
    - name: Letters
      targets: mailboxes
      tasks:
        - name: Tell
          letter: {id: welcome, to: "{{ target }}"}
    """)
    assert migration.run().changed == 3
    assert migration.run().changed == 0
    assert set(migration.remote.effects.values()) == {1}


def test_limit_and_tags(migration: Migration) -> None:
    migration.write(ONE + "      tags: [blue]\n")
    assert migration.run(limit=("B2",)).changed == 1
    assert migration.run(tags=("green",)).changed == 0
    assert migration.run(tags=("blue",)).changed == 2


def test_a_second_run_is_locked_out_while_one_holds(migration: Migration) -> None:
    migration.write(ONE)
    first = migration.journal()
    first.hold({"who": "lee", "host": "elsewhere", "pid": "1", "since": "now"})
    with pytest.raises(Refusal) as refused:
        migration.run()
    assert refused.value.exit_code == ExitCode.LOCKED
    first.close()


def test_a_service_at_work_is_waited_for(migration: Migration) -> None:
    migration.write(ONE)
    migration.remote.things["thing/bo@acme.example"] = {"value": "off", "busy": True}
    outcome = migration.run()
    assert outcome.counts == {"done": 2, "waiting": 1}
    migration.remote.things["thing/bo@acme.example"] = {"value": "on"}
    migration.later(minutes=16)
    assert migration.run().exit_code == ExitCode.CONVERGED


@pytest.mark.parametrize(("timeout", "waits"), [("timeout: 2 hours", timedelta(hours=2)), ("", timedelta(days=30))])
def test_an_observation_fails_at_its_timeout(migration: Migration, timeout: str, waits: timedelta) -> None:
    began = migration.clock.now()
    migration.write(f"""
    - name: See
      targets: domains
      tasks:
        - name: Others bring it about
          observed: {{name: "{{{{ target }}}}"}}
          {timeout}
    """)
    assert migration.run(wait=True).exit_code == ExitCode.SOME_FAILED
    assert waits <= migration.clock.now() - began < 1.2 * waits
    migration.remote.things["observed/acme.example"] = {"value": "on"}
    assert migration.run().exit_code == ExitCode.CONVERGED


def test_a_plan_predicts_the_way_back_to_what_was_there_before(migration: Migration) -> None:
    migration.write("""
    - name: There and back
      targets: domains
      tasks:
        - name: Low
          thing: {name: "{{ target }}", value: low}
          register: ttl
        - name: As before
          thing: {name: "{{ target }}", value: "{{ ttl.before.value }}"}
    """)
    migration.remote.things["thing/acme.example"] = {"value": "high"}
    assert migration.groups(migration.plan()) == [("Low", "change", 1), ("As before", "change", 1)]
    assert migration.run().changed == 2
    assert migration.remote.things["thing/acme.example"]["value"] == "high"
    assert migration.run().changed == 0


def test_a_used_approval_is_not_asked_again(migration: Migration) -> None:
    migration.write(APPROVAL)
    migration.run()
    journal = migration.journal()
    words.approve(journal, task="Go", rows=[], by="kim", reason="agreed")
    journal.close()
    assert migration.run().exit_code == ExitCode.CONVERGED
    migration.later(days=3)
    again = migration.run()
    assert (again.exit_code, again.changed) == (ExitCode.CONVERGED, 0)


def test_an_edit_back_and_forth_is_seen(migration: Migration) -> None:
    two = """
- name: Two tasks that could own one thing
  targets: domains
  tasks:
    - name: Set
      thing: {name: "{{ target }}", value: VALUE}
    - name: Another
      thing: {name: "other-{{ target }}"}
"""
    for value in ("good", "bad", "good"):
        migration.write(two.replace("VALUE", value))
        assert migration.run().exit_code == ExitCode.CONVERGED
        assert migration.remote.things["thing/acme.example"]["value"] == value


def test_an_earlier_task_stays_superseded_when_it_is_edited(migration: Migration) -> None:
    low_high = """
- name: Down and up
  targets: domains
  tasks:
    - name: Low
      thing: {name: "{{ target }}", value: LOW}
    - name: High
      thing: {name: "{{ target }}", value: high}
"""
    migration.write(low_high.replace("LOW", "low"))
    migration.run()
    migration.write(low_high.replace("LOW", "lower"))
    assert migration.run().changed == 0
    assert migration.remote.things["thing/acme.example"]["value"] == "high"


def test_a_row_without_items_still_waits_for_what_comes_before_its_loop(migration: Migration) -> None:
    inventory = migration.folder / "inventory.yml"
    inventory.write_text(inventory.read_text().replace(
        "name: Anna, type: user", "name: Anna, aliases: [a1@acme.example, a2@acme.example], type: user"))
    migration.write("""
    - name: Loop
      targets: mailboxes
      tasks:
        - name: Go
          approval: {id: go, question: Go?}
        - name: Each alias
          thing: {name: "{{ item }}"}
          loop: "{{ row.aliases }}"
        - name: Last
          thing: {name: "{{ target }}"}
    """)
    migration.run()
    assert migration.remote.effects == {}
    journal = migration.journal()
    words.approve(journal, task="Go", rows=["bo@acme.example"], by="kim", reason="agreed")
    journal.close()
    migration.run()
    assert migration.remote.effects == {"thing/bo@acme.example create": 1}


def test_a_limit_reaches_down_and_never_up(migration: Migration) -> None:
    migration.write("""
    - name: Batches
      targets: batches
      tasks:
        - name: Batch
          thing: {name: "{{ target }}"}
    - name: Mailboxes
      targets: mailboxes
      tasks:
        - name: Mailbox
          thing: {name: "{{ target }}"}
    """)
    migration.run(limit=("anna@acme.example",))
    assert migration.remote.effects == {}
    migration.run(limit=("B2",))
    assert migration.remote.effects == {"thing/B2 create": 1, "thing/cem@acme.example create": 1}


def test_a_drift_outside_the_limit_is_not_consented_to(migration: Migration) -> None:
    migration.write(ONE)
    migration.run()
    for thing in migration.remote.things.values():
        thing["value"] = "off"
    assert migration.run(limit=("anna@acme.example",)).changed == 1
    assert migration.run(consent=None).changed == 0
