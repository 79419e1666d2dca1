"""Each guard that an undo can cross, against each way past it: its preview, undo, resume, again, an override of others.

One lab a guard, in which the act was ours and what made it harmless to take back is gone. Whatever the way, it must
not be taken back: the organisation stays as it was, and the refusal names the guard.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from engine.contract import ExitCode, Refusal
from engine.run import words
from engine.run.undo import UndoOutcome
from tests.run.guard_stage import (
    ANNA,
    CLOUD,
    CONVERSION,
    Case,
    Stage,
    batch,
    batch_created,
    mx_in_the_cloud,
    staged,
    users_in_the_cloud,
)

CASES = {
    "mx_back": Case("staged", "domains", f"""
      dns_record: {{zone: "{{{{ row.zone }}}}", type: MX, values: ["{CLOUD}"], ttl: 3600}}
""", says="is removed: mail could not be brought back", overrule=("mx_to_cloud",)),
    "mx_to_cloud": Case("staged", "domains", """
      dns_record: {zone: "{{ row.zone }}", type: MX, values: [10 mail.contoso.com.], ttl: 3600}
""", mx_in_the_cloud, says="are not ready", overrule=("mx_back",)),
    "endpoint_changed": Case("staged", "organisation", """
      migration_endpoint:
        name: "{{ endpoint_name }}"
        email_address: "{{ test_mailbox }}"
        account: "{{ source_account }}"
        autodiscover: false
        exchange_server: "{{ exchange_server }}"
        rpc_proxy_server: "{{ rpc_proxy_server }}"
        max_concurrent_migrations: 5
""", batch_created, says="uses it and is running", after=lambda stage: stage.act(batch(stage, "started"))),
    "licence_removed": Case("staged", "mailboxes", """
      licence: {address: "{{ target }}", sku: "{{ row.sku }}", usage_location: "{{ row.usage_location }}"}
""", users_in_the_cloud, only=ANNA, says="nobody has approved that (B-48)"),
    "mailbox_reconnected": Case("staged", "mailboxes", f"""
      mail_user_conversion:
        address: "{{{{ target }}}}"
        routing_address: {CONVERSION['routing_address']}
        cloud_legacy_dn: {CONVERSION['cloud_legacy_dn']}
        cloud_guid: {CONVERSION['cloud_guid']}
""", only=ANNA, says="its mailbox was kept until", overrule=("mailbox_converted",),
                                after=lambda stage: stage.pass_time(days=31)),
}
#: The guards that look at something nothing else has looked at before them; the others stand on the journal alone, and
#: of an endpoint its own look at the batches comes first.
LOOKS = frozenset({"mx_back", "mx_to_cloud"})
GUARDED = {"mx_back": ("B-40",), "endpoint_changed": ("B-18",), "licence_removed": ("B-47", "B-48"),
           "mailbox_reconnected": ("S-27",)}


@pytest.fixture(scope="module", params=[
    pytest.param(guard, marks=pytest.mark.requirement(*GUARDED.get(guard, ()))) for guard in CASES])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    guard = request.param
    with staged(guard, CASES[guard], tmp_path_factory.mktemp(guard)) as found:
        _do(found)
        CASES[guard].after(found)
        yield found


def _do(stage: Stage) -> None:
    """The act, by a run, in the journal «done»."""
    outcome = stage.apply("done")
    for guard in stage.case.overrule:
        stage.say("done", words.override, guard=guard, rows=stage.rows)
        outcome = stage.apply("done")
    while outcome.exit_code != ExitCode.CONVERGED:
        assert outcome.exit_code == ExitCode.PARKED_ON_TIME, outcome
        stage.pass_time(minutes=5)
        outcome = stage.apply("done")
    assert stage.acted("done", "intent") == set(stage.rows)


def _done(stage: Stage) -> str:
    """A migration whose journal tells of the act and of nothing after it."""
    name = stage.fresh()
    shutil.copytree(stage.folder / "done", stage.folder / name)
    return name


def test_the_preview_says_what_the_guard_says_and_changes_nothing(stage: Stage) -> None:
    before, plan = stage.state(), stage.undo_plan("done")
    assert {line.row for line in plan.lines} == set(stage.rows)
    for line in plan.lines:
        assert line.word == "restore" and len(line.guarded) == 1
        assert line.guarded[0].startswith(f"{stage.guard}: ") and stage.case.says in line.guarded[0]
    assert stage.state() == before


def test_an_undo_and_another_one_are_refused(stage: Stage) -> None:
    name, before = _done(stage), stage.state()
    stage.is_refused(name, before, stage.undo(name))
    stage.is_refused(name, before, stage.undo(name))
    assert stage.acted(name, "undoing") == set()
    assert stage.acted(name, "held") == set(), "what is not taken back is not put on hold either"


def test_a_resumed_undo_is_refused_even_with_the_act_already_decided_on(stage: Stage) -> None:
    name, before = _done(stage), stage.state()
    refused = stage.is_refused(name, before, stage.undo(name))
    stage.note(name, "undoing", refused, {"index": 0, "verb": "change", "changes": [], "before": None})
    stage.is_refused(name, before, stage.undo(name))


def test_everything_on_hold_nothing_is_taken_back_and_released_it_is_still_refused(stage: Stage) -> None:
    name, before = _done(stage), stage.state()
    stage.say(name, words.hold)
    with pytest.raises(Refusal, match="everything is on hold"):
        stage.undo(name)
    stage.say(name, words.release)
    stage.is_refused(name, before, stage.undo(name))


def test_a_look_that_fails_is_no_yes(stage: Stage) -> None:
    reasons = stage.unseen(stage.undo, "undoing", lambda: _done(stage))
    assert stage.guard not in LOOKS or any(
        reason.startswith(f"{stage.guard}: it could not be checked: ") for reason in reasons), reasons


def test_an_override_of_every_other_guard_does_not_help_and_its_own_does(stage: Stage) -> None:
    name, before = _done(stage), stage.state()
    refused = stage.is_refused(name, before, stage.undo(name))
    stage.override_all_others(name, refused)
    stage.is_refused(name, before, stage.undo(name))
    stage.say(name, words.override, guard=stage.guard, rows=[stage.rows[0]])
    assert isinstance(stage.undo(name), UndoOutcome)
    assert stage.acted(name, "undoing") == {stage.rows[0]}


@pytest.mark.requirement("B-47", "B-48")
def test_a_licence_is_taken_away_only_by_a_word_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever undoes it has said why; whether she may lose her mailbox in 30 days is another question."""
    with staged("licence_removed", CASES["licence_removed"], tmp_path_factory.mktemp("approved")) as stage:
        _do(stage)
        before = stage.state()
        stage.is_refused("done", before, stage.undo("done"))
        stage.say("done", words.approve, task="Danger / Move", rows=[ANNA])
        stage.pass_time(hours=25)
        assert stage.undo("done").undone == 0, "the word holds for a day"
        stage.say("done", words.approve, task="Danger / Move", rows=[ANNA])
        assert stage.undo("done").undone == 1
        stage.apply("done")
        assert stage.acted("done", "undone") == {ANNA}
