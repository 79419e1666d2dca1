"""Thirty conversions let through at once by a person: how many the engine begins, judged from the journal alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import app
from engine.contract import ExitCode, Refusal
from engine.lab import generate
from engine.laboratory import Lab
from engine.rehearse import organisation, write_inventory
from engine.run import words
from engine.run.journal import Record
from engine.world import World
from tests.run.guard_stage import Stage
from tests.run.test_guard_matrix import CASES

MAILBOXES = 30
BUDGET = 20


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    folder = tmp_path
    company, home, world = folder / "company", folder / "lab", World()
    generate.write(generate.company(generate.Order("staged", MAILBOXES, seed=1)), company)
    inventory = company / "inventory.yml"
    inventory.write_text(inventory.read_text(encoding="utf-8").replace(
        "    tls: ldaps\n", "    tls: ldaps\n    conversion: ldap\n"), encoding="utf-8")
    migration = app.load(app.place(company, None, folder / "unused", world), {}, world)
    home.mkdir()
    with Lab(home, organisation(migration), seed=1, faults="none", environment=world.environment) as lab:
        case = CASES["mailbox_converted"]
        own = replace(case, task=case.task.replace("cn=y", "cn={{ target }}").replace(
            "cloud_legacy_dn: /o", "cloud_legacy_dn: \"/o").replace("{{ target }}\n", "{{ target }}\"\n"))
        yield Stage("mailbox_converted", own, folder, lab, write_inventory(inventory, lab.ready, home))


@pytest.mark.parametrize("page", [7, 50], ids=["judged in several pages, as thousands are", "judged at once"])
def test_conversions_are_one_then_twenty_then_all_and_never_more_than_the_budget(
        stage: Stage, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr("engine.run.execute.EACH_ROWS", page)
    rows, inventory = stage.rows, stage.inventory
    assert len(rows) >= MAILBOXES
    text = inventory.read_text(encoding="utf-8")
    inventory.write_text(re.sub(r'("guarded_acts": )"\d+"', rf'\g<1>"{BUDGET}"', text), encoding="utf-8")
    name = stage.fresh()
    stage.apply(name)
    stage.say(name, words.override, guard=stage.guard, rows=rows)
    with pytest.raises(Refusal) as refused:
        stage.apply(name)
    assert refused.value.exit_code == ExitCode.REFUSED
    begun = stage.acted(name, "intent")
    assert 0 < len(begun) <= BUDGET
    inventory.write_text(text, encoding="utf-8")
    for _ in range(10):
        if stage.apply(name).exit_code == ExitCode.CONVERGED:
            break
        stage.pass_time(minutes=5)
    assert stage.acted(name, "intent") == set(rows)
    journal = stage.journal(name)
    records = list(journal.records(kinds=("intent", "settled")))
    journal.close()
    most = _under_way(records)
    assert most[0] == 1 and 1 < max(most[:21]) <= 20, most


def test_a_conversion_that_a_killed_run_has_begun_counts_before_it_is_read(
        stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last row was begun, and is on the last page that is read: none of the others may be the first beside it."""
    monkeypatch.setattr("engine.run.execute.EACH_ROWS", 7)
    name = stage.fresh()
    stage.apply(name)
    *_, last = refused = sorted(stage.refused(name), key=lambda record: stage.rows.index(record.row))
    stage.say(name, words.override, guard=stage.guard, rows=[record.row for record in refused])
    stage.note(name, "intent", [last], {"index": last.body["index"], "verb": "change", "attempt": 1, "changes": [],
                                        "before": None})
    stage.apply(name)
    journal = stage.journal(name)
    records = list(journal.records(kinds=("intent", "settled")))
    journal.close()
    assert (records[0].row, records[1].row, records[2].kind) == (last.row, last.row, "settled")
    assert _under_way(records)[0] == 1


def _under_way(records: list[Record]) -> list[int]:
    """For each number of mailboxes that were done, how many at most had been begun and were not done."""
    begun, done, most = set[str](), set[str](), [0] * (MAILBOXES + 10)
    for record in records:
        (begun if record.kind == "intent" else done).add(record.row)
        most[len(done)] = max(most[len(done)], len(begun - done))
    return most
