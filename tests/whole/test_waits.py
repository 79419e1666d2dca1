"""The waits and the order of a whole migration, read from the journal of its rehearsal: what came when, and no sooner.

The change window is open all week here, so that what holds an act back is what should.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine import app
from engine.connections.migration_objects import moment
from engine.lab.generate import Order, company, write
from engine.rehearse import rehearse
from engine.run.journal import Journal, Record
from engine.world import SystemClock, World

pytestmark = pytest.mark.slow

OLD_TTL = timedelta(seconds=250_000)  # longer than all that comes before the switch, shorter than the 72 hours after it
MX, LOWERED = "MX names only Microsoft 365", "MX may be cached for an hour at most"
RAISED = "The TTL of MX is as before"
COPIED, CONVERTED = "The first copy is complete", "The source mailbox is a mail user that points to the cloud"


@dataclass(frozen=True)
class Story:
    """The records of one rehearsal, oldest first, and what was exported."""

    kind: str
    records: tuple[Record, ...]
    exports: Path

    def of(self, kind: str, task: str) -> list[Record]:
        found = [each for each in self.records if each.kind == kind and each.task.endswith(f" / {task}")]
        assert found, (kind, task)
        return found

    def first(self, kind: str, task: str) -> datetime:
        return min(self._at(each) for each in self.of(kind, task))

    def last(self, kind: str, task: str) -> datetime:
        return max(self._at(each) for each in self.of(kind, task))

    @staticmethod
    def _at(record: Record) -> datetime:
        assert record.at is not None
        return record.at


@pytest.fixture(scope="module", params=["staged", "cutover"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp(request.param)
    write(company(Order(request.param, 8, 3, None, None, batch_rows=4)), folder)
    inventory = folder / "inventory.yml"
    text = inventory.read_text(encoding="utf-8")
    window = 'days: [friday], opens: "20:00", closes: "06:00"'
    assert text.count(window) == 1
    days = "[monday, tuesday, wednesday, thursday, friday, saturday, sunday]"
    inventory.write_text(text.replace(window, f'days: {days}, opens: "00:00", closes: "23:59"'), encoding="utf-8")
    text = inventory.read_text(encoding="utf-8")
    inventory.write_text(re.sub(r"(\{domain: [^}]*)\}", rf"\1, mx_ttl: {OLD_TTL.total_seconds():.0f}}}", text),
                         encoding="utf-8")
    if request.param == "cutover":  # mailboxes of no person: nobody has to be seen at work before the batch goes (B-44)
        rows = folder / "mailboxes.csv"
        rows.write_text(rows.read_text(encoding="utf-8").replace(",user,", ",shared,"), encoding="utf-8")
    migration = app.load(app.place(folder / "playbook.yml", None, folder / "state", World()), {}, World())
    kept = folder / "kept"
    kept.mkdir()
    found = rehearse(migration, seed=3, faults="none", kills=[], folder=kept, extra_vars={}, screen=None, world=World())
    assert found.well, (found.parked, found.last_words)
    home = next((kept / "state").iterdir())
    journal = Journal.open(home, SystemClock(), create=False, write=False)
    yield Story(request.param, tuple(journal.records()), home / "exports")
    journal.close()


@pytest.mark.requirement("B-15")
def test_a_domain_is_verified_a_quarter_of_an_hour_after_its_proof_is_seen(story: Story) -> None:
    seen = story.first("settled", "The proof of ownership is in public DNS")
    assert story.first("intent", "The domain is verified") >= seen + timedelta(minutes=15)


@pytest.mark.requirement("B-17", "B-40", "C-17")
def test_nothing_moves_mail_before_everybody_is_copied(story: Story) -> None:
    """Neither MX nor Autodiscover is written, by whatever task, while a mailbox is still at the source."""
    written = [each for each in story.records if each.kind == "intent" and each.key.startswith("dns/")
               and any(change[0] == "values" for change in each.body["changes"])
               and (each.key.endswith("/MX") or "/autodiscover" in each.key)]
    assert {each.key.rpartition("/")[2] for each in written} == {"MX", "CNAME"}
    assert min(Story._at(each) for each in written) >= story.last("settled", COPIED)


@pytest.mark.requirement("B-38")
def test_mx_moves_only_when_the_old_ttl_has_run_out(story: Story) -> None:
    lowered = story.first("settled", LOWERED)
    assert story.first("intent", MX) >= lowered + OLD_TTL
    waited = [each for each in story.of("parked", MX) if each.body["what"] == "guard"]
    assert waited and all(each.body["reason"].startswith(
        "mx_to_cloud: the old TTL has not run out in other people's caches; «Go or no-go» is approved until ")
        for each in waited)
    assert {each.body["until"] for each in waited} == {lowered + OLD_TTL}


@pytest.mark.requirement("B-39")
def test_the_ttl_is_raised_to_what_it_was_after_the_switch(story: Story) -> None:
    back = story.of("settled", RAISED)
    assert {each.body["state"]["ttl"] for each in back} == {int(OLD_TTL.total_seconds())}
    assert story.first("intent", RAISED) > story.last("settled", MX)


@pytest.mark.requirement("B-42")
def test_the_world_has_72_hours_to_see_the_new_mx(story: Story) -> None:
    agreed = story.last("settled", MX)
    assert story.first("parked", "The world has seen the new MX") >= story.first("settled", MX)
    asked = [each for each in story.of("parked", "The world has seen the new MX") if each.body["phase"] == "asking"]
    assert asked and min(Story._at(each) for each in asked) >= agreed + timedelta(hours=72)
    assert story.first("intent", "The batch is removed") >= agreed + timedelta(hours=72)


@pytest.mark.requirement("B-45")
def test_before_a_cutover_batch_goes_everybody_was_synchronised_after_the_wait(story: Story) -> None:
    """A staged batch is not synchronised again (S-34), and nothing waits for it there."""
    end = story.last("settled", MX) + timedelta(hours=72)
    assert story.first("intent", "The batch is removed") >= end
    if story.kind == "staged":
        batches = [json.loads(path.read_text(encoding="utf-8")) for path in story.exports.glob("batch-*.json")]
        last = [moment(user["LastSuccessfulSyncTime"]) for each in batches for user in each["users"]]
        assert last and all(at is not None and at < story.first("settled", MX) for at in last)
        return
    kept: Any = json.loads((story.exports / "batch-Cutover.json").read_text(encoding="utf-8"))
    assert kept["users"]
    moved: dict[str, datetime] = {}
    for each in story.of("settled", MX):
        moved.setdefault(each.row, Story._at(each))
    synced = {user["Identity"]: moment(user["LastSuccessfulSyncTime"]) for user in kept["users"]
              if user["RecipientType"] == "Mailbox"}
    late = {who: at for who, at in synced.items() if at is None or at < max(moved.values()) + timedelta(hours=72)}
    assert synced and late == {}, [user for user in kept["users"] if user["Identity"] in late][:1]
    assert end <= story.last("settled", "Everything was synchronised once more after the wait") <= story.first(
        "intent", "The batch is removed")


@pytest.mark.requirement("B-46")
def test_a_batch_is_removed_once_when_its_name_was_typed_and_is_then_gone(story: Story) -> None:
    removed = story.of("settled", "The batch is removed")
    assert {each.body["state"] for each in removed} == {None}
    intents = {each.row: Story._at(each) for each in story.of("intent", "The batch is removed")}
    words = {each.row: Story._at(each) for each in story.of("approved", "Go or no-go for removing")}
    assert intents.keys() == words.keys() == {each.row for each in removed}
    assert all(words[row] <= intents[row] for row in intents)


@pytest.mark.requirement("B-49", "S-33", "S-35")
def test_mx_and_autodiscover_move_after_the_last_mailbox_of_the_last_batch(story: Story) -> None:
    done = story.last("settled", CONVERTED if story.kind == "staged" else COPIED)
    assert story.first("intent", MX) >= done
    assert story.first("intent", "Autodiscover points to Microsoft 365") >= done
    batches = {each.row for each in story.of("settled", "The batch is started")}
    assert len(batches) == (2 if story.kind == "staged" else 1)
