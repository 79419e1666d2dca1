"""Each guard against each way past it: plan, apply, resume, retry, hold and release, and an override of every other.

One lab a guard, in which the guarded thing exists and nothing that the guard demands has been done. Whatever the way,
the act must not happen: the organisation stays as it was, and the refusal names the guard. The ways of an undo are in
tests/run/test_guard_undo.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import app
from engine.contract import ExitCode
from engine.run import words
from engine.run.graph import Selection
from engine.run.guards import IRREVERSIBLE, Guards
from engine.world import World
from tests.run import test_guard_undo
from tests.run.guard_stage import (
    CLOUD,
    Case,
    Stage,
    batch_created,
    batch_of_no_person,
    batch_running,
    batch_stopped_and_one_converted,
    mx_in_the_cloud,
    staged,
)

CASES = {
    "mx_to_cloud": Case("staged", "domains", f"""
      dns_record: {{zone: "{{{{ row.zone }}}}", type: MX, values: ["{CLOUD}"], ttl: 3600}}
""", says="are not ready"),
    "mx_back": Case("staged", "domains", """
      dns_record: {zone: "{{ row.zone }}", type: MX, values: [10 mail.contoso.com.], ttl: 3600}
""", mx_in_the_cloud),
    "batch_removed": Case("staged", "batches", """
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", csv: "{{ row.csv }}", state: absent}
""", batch_created, only="Batch01", says="its history is not exported"),
    "batch_restarted": Case("staged", "batches", """
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", csv: "{{ row.csv }}", state: started}
""", batch_stopped_and_one_converted, only="Batch01", says="anna@contoso.com of the same batch is converted already"),
    "mailbox_converted": Case("staged", "mailboxes", """
      mail_user_conversion:
        address: "{{ target }}"
        routing_address: "{{ target }}.x@contoso.onmicrosoft.com"
        cloud_legacy_dn: /o=ExchangeLabs/ou=x/cn=y
        cloud_guid: 0f8fad5b-d9cb-469f-a165-70867728950e
"""),
    "directory_sync_off": Case("staged", "organisation", """
      directory_sync: {enabled: false}
"""),
    "autodiscover_moved": Case("staged", "domains", """
      dns_record:
        {zone: "{{ row.zone }}", name: autodiscover, type: CNAME, values: [autodiscover.outlook.com.], ttl: 3600}
"""),
    "endpoint_changed": Case("staged", "organisation", """
      migration_endpoint:
        name: "{{ endpoint_name }}"
        email_address: "{{ test_mailbox }}"
        account: "{{ source_account }}"
        autodiscover: false
        exchange_server: "{{ exchange_server }}"
        rpc_proxy_server: "{{ rpc_proxy_server }}"
        max_concurrent_migrations: 5
""", batch_running),
}
#: A cutover's own rules behind the same names.
CUTOVER = {
    "mx_to_cloud": CASES["mx_to_cloud"],
    "autodiscover_moved": CASES["autodiscover_moved"],
    "batch_removed": replace(CASES["batch_removed"], only="", task="""
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", state: absent}
"""),
}
#: The guards that look at something before the facts of the run have refused.
LOOKS = frozenset({"mx_to_cloud", "mx_back", "autodiscover_moved", "mailbox_converted", "batch_restarted",
                   "endpoint_changed"})
#: The requirements that a guard stands for.
GUARDED = {
    "mx_to_cloud": ("B-40", "B-41"), "batch_removed": ("B-46", "B-55"), "batch_restarted": ("S-34",),
    "mailbox_converted": ("S-27",), "autodiscover_moved": ("B-49",), "endpoint_changed": ("B-18",),
}
STAGES = {**{f"{name}, staged": (name, case) for name, case in CASES.items()},
          **{f"{name}, cutover": (name, replace(case, type="cutover")) for name, case in CUTOVER.items()}}


@pytest.fixture(scope="module", params=[
    pytest.param(name, marks=pytest.mark.requirement(*GUARDED.get(guard, ()))) for name, (guard, _) in STAGES.items()])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    guard, case = STAGES[request.param]
    with staged(guard, case, tmp_path_factory.mktemp(guard)) as found:
        yield found


def test_every_guard_has_a_row(tmp_path: Path) -> None:
    """A task crosses it here, or only an undo does."""
    app.init(tmp_path / "acme", "staged")
    migration = app.load(app.place(tmp_path / "acme", None, tmp_path, World()), {}, World())
    known = Guards(migration.program, migration.site, None).known  # type: ignore[arg-type]
    assert set(CASES) | set(test_guard_undo.CASES) == set(known)


def test_the_plan_says_what_the_guard_says_and_changes_nothing(stage: Stage) -> None:
    before = stage.state()
    shown = app.plan(stage.migration(stage.fresh()), Selection())
    guarded = [text for group in shown.groups for text in group.guarded]
    assert guarded and all(text.startswith(f"{stage.guard}: ") for text in guarded)
    assert not any(text.endswith(": passes") for text in guarded)
    assert stage.state() == before


def test_apply_a_retry_and_a_hold_that_is_released_are_refused(stage: Stage) -> None:
    name, before = stage.fresh(), stage.state()
    stage.is_refused(name, before, stage.apply(name))
    stage.say(name, words.retry, task="Danger / Move", rows=stage.rows)
    stage.is_refused(name, before, stage.apply(name))
    stage.say(name, words.hold, rows=stage.rows)
    assert stage.apply(name).exit_code == ExitCode.PARKED_ON_PERSON and stage.state() == before
    stage.say(name, words.release, rows=stage.rows)
    stage.is_refused(name, before, stage.apply(name))


def test_a_resumed_run_is_refused_even_with_the_act_already_decided_on(stage: Stage) -> None:
    """A run that was killed between its intent and the act: the next one judges again before it acts."""
    name, before = stage.fresh(), stage.state()
    refused = stage.is_refused(name, before, stage.apply(name))
    stage.note(name, "intent", refused, {"index": 0, "verb": "change", "changes": [], "before": None, "attempt": 1})
    stage.is_refused(name, before, stage.apply(name))


def test_a_look_that_fails_is_no_yes(stage: Stage) -> None:
    """Whatever cannot be read, and however it fails: nothing is done, and a guard that looks says that it cannot."""
    reasons = stage.unseen(stage.apply, "intent", stage.fresh)
    assert stage.guard not in LOOKS or any(
        reason.startswith(f"{stage.guard}: it could not be checked: ") for reason in reasons), reasons


def test_what_cannot_be_taken_back_waits_for_a_clock_that_cannot_be_compared(stage: Stage) -> None:
    """B4, with the guard itself out of the way: the last look before such an act is at a service's clock."""
    if stage.guard not in IRREVERSIBLE:
        return
    name = stage.fresh()
    stage.apply(name)
    stage.say(name, words.override, guard=stage.guard, rows=[stage.rows[0]])
    stage.apply(name, lambda: stage.lab.post("/fault", kind="unavailable", match="graph GET /organization",
                                             times=1_000, seconds=3_000))
    stage.lab.post("/fault", kind="none")
    assert stage.acted(name, "intent") == set()
    assert any(str(record.body["reason"]).startswith("clock: it could not be compared")
               for record in stage.refused(name))


def test_an_override_of_every_other_guard_does_not_help_and_its_own_does(stage: Stage) -> None:
    """The last is what makes the others tell: nothing but this guard stood before the act."""
    name, before = stage.fresh(), stage.state()
    refused = stage.is_refused(name, before, stage.apply(name))
    stage.override_all_others(name, refused)
    stage.is_refused(name, before, stage.apply(name))
    assert stage.acted(name, "intent") == set()
    stage.say(name, words.override, guard=stage.guard, rows=[stage.rows[0]])
    stage.apply(name)
    assert stage.acted(name, "intent") == {stage.rows[0]}


def test_of_two_guards_before_one_act_each_must_pass(tmp_path: Path) -> None:
    """From one host of Microsoft's to another: mail would be moved, and could not be brought back as it was."""
    case = Case("staged", "domains", """
      dns_record: {zone: "{{ row.zone }}", type: MX, values: [0 other.mx.microsoft.], ttl: 3600}
""", mx_in_the_cloud)
    with staged("mx_to_cloud", case, tmp_path) as stage:
        name, before = stage.fresh(), stage.state()
        shown = app.plan(stage.migration(name), Selection())
        guarded = dict(text.split(": ", 1) for group in shown.groups for text in group.guarded)
        assert "are not ready" in guarded["mx_to_cloud"] and "mail could not be brought back" in guarded["mx_back"]
        stage.is_refused(name, before, stage.apply(name))
        stage.say(name, words.override, guard="mx_to_cloud", rows=["contoso.com"])
        stage.guard = "mx_back"
        stage.is_refused(name, before, stage.apply(name))


@pytest.mark.requirement("S-34")
def test_a_staged_batch_stays_while_a_mailbox_of_it_is_not_converted(tmp_path: Path) -> None:
    """The pages ask for a later synchronisation, which never comes: what counts is the conversion, and the proof."""
    case = Case("staged", "batches", """
      batch_history: {batch: "{{ target }}"}
      when: "{{ target == 'Batch01' }}"
    - name: Remove
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", csv: "{{ row.csv }}", state: absent}
""", batch_of_no_person, only="Batch01", says="is not converted yet (S-34 b)")
    with staged("batch_removed", case, tmp_path) as stage:
        name = stage.fresh()
        stage.is_refused(name, stage.state(), stage.apply(name))
