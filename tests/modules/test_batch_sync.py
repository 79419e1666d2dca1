"""A cutover batch is synchronised once more after the wait, and what is removed was exported as it was at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.contract import Rejected, Unreachable
from engine.modules.batch_history import BatchHistory
from engine.modules.batch_sync import BatchSync
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch
from tests.modules.lab_cloud import DOMAIN, PEOPLE, Lab, running
from tests.modules.test_way_back import endpoint, verified


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Everybody is copied."""
    with running("cutover", tmp_path_factory.mktemp("sync")) as found:
        verified(found)
        batch: Any = {"name": "Everybody", "endpoint": endpoint(found).name}
        found.act(MigrationBatch(**batch, state="created"))
        found.settled(MigrationBatch(**batch, state="created"), within=3600)
        found.act(MigrationBatch(**batch, state="started"))
        for each in PEOPLE:
            found.settled(MailboxSync(address=f"{each}@{DOMAIN}", batch="Everybody"), within=30 * 86400)
        yield found


@pytest.mark.requirement("B-45")
def test_1_nothing_is_synchronised_since_until_it_is_asked_for(lab: Lab) -> None:
    module = BatchSync(batch="Everybody", since=lab.clock.now())
    before = lab.read(module)
    assert before is not None and before["behind"] == len(PEOPLE)
    lab.act(module)
    after = lab.settled(module, within=6 * 3600)
    assert after is not None and after["oldest"] >= module.since  # type: ignore[operator]
    assert lab.control("/counters")["effects"]["batch/Everybody sync"] == 1
    assert module.restore_diff(before, after) is None, "a synchronisation stays"


@pytest.mark.requirement("B-45")
def test_2_a_batch_nobody_knows_is_waited_for_and_not_believed(lab: Lab) -> None:
    assert lab.read(BatchSync(batch="Nobody", since=lab.clock.now())) is None


@pytest.mark.requirement("B-55")
def test_3_a_sync_between_export_and_removal_is_in_the_export(lab: Lab) -> None:
    history = BatchHistory(batch="Everybody")
    lab.act(history)
    kept = Path(str(lab.site.settings["exports"])) / "batch-Everybody.json"
    first = json.loads(kept.read_text())["exported_at"]
    lab.pass_time(3600)
    once_more = BatchSync(batch="Everybody", since=lab.clock.now())
    lab.act(once_more)
    lab.settled(once_more, within=6 * 3600)
    state = lab.read(history)
    assert state is not None and state["current"] is False
    removal = MigrationBatch(name="Everybody", endpoint="contoso-endpoint", state="absent")
    for _ in range(5):
        try:
            lab.act(removal)
            break
        except (Unreachable, Rejected):  # it is being stopped first
            lab.pass_time(900)
    assert json.loads(kept.read_text())["exported_at"] > first
    lab.settled(removal, within=7200)
