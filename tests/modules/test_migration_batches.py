"""Batches of both types against the lab: made, started, followed, failed, finished (B-27 to B-35, C-14 to C-28, S-23).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.connections.batch_csv import write
from engine.contract import Failing, Outlook, Rejected, State, Unreachable, Waiting
from engine.modules.base import Module
from engine.modules.batch_progress import BatchProgress
from engine.modules.cloud_recipient import CloudRecipient
from engine.modules.incremental_sync import IncrementalSync
from engine.modules.mail_user_conversion import MailUserConversion
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch, digest, valid_name
from tests.modules.lab_cloud import Lab
from tests.modules.service_stand import ENDPOINT, address, batch, endpoint, list_file, service, typed

DAY = 24 * 3600
NAMES = ["anna", "ben", "carla"]


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Lab]:
    with service("staged", tmp_path, {name: {} for name in NAMES} | {"dora": {"aliases": ["d@contoso.com"]}}) as lab:
        list_file(tmp_path, NAMES)
        yield lab


@pytest.fixture
def cutover(tmp_path: Path) -> Iterator[Lab]:
    with service("cutover", tmp_path, {name: {} for name in NAMES}, exchange="2010") as lab:
        yield lab


def verdict(lab: Lab, module: Module) -> Outlook | None:
    """What the module makes of the state as it is; the state must not be as wanted."""
    state = lab.read(module)
    diff = module.difference(state)
    assert diff is not None, state
    return module.outlook(state, diff)


def status(lab: Lab, name: str = "Batch01") -> str:
    lab.site.forget()
    return lab.site.exchange_online.migration_batches()[name].status


def by_hand(lab: Lab, line: str) -> None:
    said = lab.control("/desk", {"script": line})
    assert said["ok"], said


# ------------------------------------------------------------------------------------------- made and started


@pytest.mark.requirement("B-28")
@pytest.mark.parametrize(("text", "name"), [
    ("Batch 1", "Batch1"), ("Büro/Nord", "BueroNord"), ("Malmö", "Malmoe"), ("Łódź", "odz"), ("***", "Batch01"),
    ("x" * 70, "x" * 64)])
def test_a_name_that_cannot_be_is_answered_with_one_that_can(text: str, name: str) -> None:
    assert valid_name(text) == name
    assert name in next(iter(MigrationBatch(name=text, endpoint="e").problems()))
    assert list(MigrationBatch(name=name, endpoint="e", strict_name=True).problems()) == []


@pytest.mark.requirement("B-29")
def test_an_automatic_start_is_one_act(staged: Lab, tmp_path: Path) -> None:
    module = batch(tmp_path, "started")
    staged.act(module)
    state = staged.settled(module)
    assert state is not None and state["status"] == "Starting"
    effects = staged.control("/counters")["effects"]
    assert effects["batch/Batch01 create"] == 1 and effects["batch/Batch01 start"] == 1
    staged.pass_time(120)
    assert status(staged) == "Syncing"


@pytest.mark.requirement("B-30")
def test_a_manual_start_leaves_it_created_until_somebody_says_start(staged: Lab, tmp_path: Path) -> None:
    created, started = batch(tmp_path, "created"), batch(tmp_path, "started")
    staged.act(created)
    state = staged.settled(created)
    assert state is not None and state["status"] == "Created"
    staged.pass_time(DAY)
    assert status(staged) == "Created"
    staged.act(started)
    staged.settled(started)


@pytest.mark.requirement("B-30")
def test_started_by_somebody_else_meanwhile_is_no_failure(staged: Lab, tmp_path: Path) -> None:
    staged.act(batch(tmp_path, "created"))
    module = batch(tmp_path, "started")
    diff = module.difference(staged.read(module))
    assert diff is not None
    by_hand(staged, "Start-MigrationBatch -Identity Batch01")
    module.apply(staged.site, diff)  # the service answers that it runs already
    staged.settled(module)

    by_hand(staged, "Stop-MigrationBatch -Identity Batch01")
    with pytest.raises(Rejected, match="Stopping"):
        module.apply(staged.site, diff)


@pytest.mark.requirement("B-27")
def test_a_batch_through_another_endpoint_is_not_ours(staged: Lab, tmp_path: Path) -> None:
    said = typed(staged, staged.act(endpoint(name="other")))
    assert said["ok"], said
    foreign = MigrationBatch(name="Batch01", endpoint="other", csv=str(tmp_path / "Batch01.csv"), state="created")
    staged.act(foreign)
    assert staged.settled(foreign) is not None
    outlook = verdict(staged, batch(tmp_path, "created"))
    assert isinstance(outlook, Failing) and f"the endpoint other, not {ENDPOINT} (B-27)" in outlook.reason


@pytest.mark.requirement("S-23", "S-24")
def test_the_service_counts_as_many_mailboxes_as_the_file_has_and_the_same_ones(staged: Lab, tmp_path: Path) -> None:
    module = batch(tmp_path, "created")
    staged.act(module)
    state = staged.settled(module)
    assert state is not None and state["count"] == 3 and state["members"] == digest(map(address, NAMES))

    list_file(tmp_path, ["anna", "ben", "dora"])
    outlook = verdict(staged, module)
    assert isinstance(outlook, Failing) and "of 3 other mailboxes than those of Batch01.csv" in outlook.reason
    list_file(tmp_path, ["anna", "ben"])
    outlook = verdict(staged, module)
    assert isinstance(outlook, Failing) and "counts 3 mailboxes in Batch01, and Batch01.csv has 2" in outlook.reason


@pytest.mark.requirement("S-23")
def test_rows_the_service_does_not_count_are_waited_for_and_then_told(staged: Lab, tmp_path: Path) -> None:
    staged.act(batch(tmp_path, "created"))
    list_file(tmp_path, [*NAMES, "dora"])  # as if it had merged one of the rows
    module = batch(tmp_path, "created")
    state = dict(staged.read(module) or {}) | {"members": None}
    diff = module.difference(state)
    assert diff is not None
    waits = module.outlook(state, diff)
    assert isinstance(waits, Waiting) and "3 of 4 rows" in waits.reason
    told = module.outlook(state | {"read_whole": True}, diff)
    assert isinstance(told, Failing) and "S-23" in told.reason
    staged.pass_time(1801)
    later = staged.read(module)
    assert later is not None and later["read_whole"] is True


@pytest.mark.requirement("S-33")
def test_batches_run_side_by_side_and_no_mailbox_is_in_two(staged: Lab, tmp_path: Path) -> None:
    list_file(tmp_path, ["anna"])
    list_file(tmp_path, ["ben", "carla"], "Batch02")
    for name in ("Batch01", "Batch02"):
        staged.act(batch(tmp_path, "started", name))
    staged.pass_time(600)
    assert status(staged) == status(staged, "Batch02") == "Syncing"
    list_file(tmp_path, ["dora", "anna"], "Batch03")
    with pytest.raises(Rejected) as refused:
        staged.act(batch(tmp_path, "started", "Batch03"))
    assert "anna@contoso.com" in refused.value.text and "E18" in refused.value.remedy
    assert "Batch03" not in staged.site.exchange_online.migration_batches()


# --------------------------------------------------------------------------------------------------- followed


@pytest.mark.requirement("B-31")
def test_a_started_batch_is_under_way_when_its_first_mailbox_is_copied(staged: Lab, tmp_path: Path) -> None:
    module = BatchProgress(batch="Batch01")
    assert isinstance(verdict(staged, module), Waiting)
    staged.act(batch(tmp_path))
    waits = verdict(staged, module)
    assert isinstance(waits, Waiting) and waits.reason == "Starting: 0 of 3 mailboxes copied, 0 failed"
    staged.settled(module, within=3600, step=60)


@pytest.mark.requirement("B-31")
def test_a_batch_that_fails_whole_within_minutes_is_told_once_with_its_cause_and_runs_again(
        staged: Lab, tmp_path: Path) -> None:
    module, given = BatchProgress(batch="Batch01"), batch(tmp_path)
    staged.act(given)
    staged.control("/fault", {"kind": "password", "password": "Wint3r-Tree"})
    staged.pass_time(900)
    told = verdict(staged, module)
    assert isinstance(told, Failing) and not told.retry
    assert told.reason.startswith("every one of its 3 mailboxes failed: ") and "E04" in told.reason
    assert "give the endpoint its credential again" in told.remedy
    started = verdict(staged, given)
    assert isinstance(started, Failing) and "E04" in started.reason

    by_hand_password = ("Set-MigrationEndpoint -Identity contoso-endpoint -Credentials (Get-Credential)")
    said = staged.control("/desk", {"script": by_hand_password, "user": "CORP\\migadmin", "password": "Wint3r-Tree"})
    assert said["ok"], said
    staged.act(module)
    staged.settled(module, within=3600, step=60)
    assert staged.control("/counters")["effects"]["batch/Batch01 start"] == 2


@pytest.mark.requirement("B-31")
@pytest.mark.parametrize("word", ["Corrupted", "Waiting"])
def test_statuses_nobody_asked_for_are_told_or_waited_for(staged: Lab, tmp_path: Path, word: str) -> None:
    staged.act(batch(tmp_path, "created"))
    staged.control("/fault", {"kind": "status", "batch": "Batch01", "status": word})
    if word == "Corrupted":
        told = verdict(staged, batch(tmp_path))
        assert isinstance(told, Failing) and "create it anew" in told.remedy
    else:
        assert isinstance(verdict(staged, BatchProgress(batch="Batch01")), Waiting)


@pytest.mark.requirement("B-34")
def test_users_are_found_in_the_tenant_under_their_primary_address(staged: Lab, tmp_path: Path) -> None:
    staged.act(batch(tmp_path))
    for name in NAMES:
        state = staged.settled(CloudRecipient(address=address(name), at_least="mailbox"), within=DAY)
        assert state is not None and state["address"] == address(name)
    further = verdict(staged, CloudRecipient(address="d@contoso.com"))
    assert isinstance(further, Waiting) and "only a further address of dora@contoso.com" in further.reason
    missing = verdict(staged, CloudRecipient(address="nobody@contoso.com"))
    assert isinstance(missing, Waiting) and "no recipient nobody@contoso.com yet" in missing.reason


@pytest.mark.requirement("B-35")
def test_synced_with_errors_is_a_failure_of_those_who_failed(staged: Lab, tmp_path: Path) -> None:
    staged.control("/fault", {"kind": "mailbox", "address": address("ben"), "error": "E08"})
    staged.act(batch(tmp_path))
    staged.pass_time(DAY)
    assert status(staged) == "SyncedWithErrors"
    for name in ("anna", "carla"):
        staged.settled(MailboxSync(address=address(name), batch="Batch01"))
    failed = MailboxSync(address=address("ben"), batch="Batch01")
    assert isinstance(verdict(staged, failed), Failing)

    staged.control("/fault", {"kind": "mailbox", "address": address("ben"), "error": None})
    staged.act(failed)
    staged.settled(failed, within=DAY)
    assert status(staged) == "Synced"
    assert staged.control("/counters")["effects"][f"mailbox/{address('anna')} create"] == 1


def test_a_running_batch_is_stopped_before_it_is_removed(staged: Lab, tmp_path: Path) -> None:
    staged.act(batch(tmp_path))
    staged.pass_time(300)
    gone = batch(tmp_path, "absent")
    with pytest.raises(Unreachable, match="being stopped"):
        staged.act(gone)
    assert isinstance(verdict(staged, gone), Waiting)
    staged.pass_time(300)
    staged.act(gone)
    assert staged.settled(gone, within=3600, step=60) is None


@pytest.mark.requirement("S-34")
def test_a_staged_batch_that_stands_still_has_done_its_work_once_everybody_in_it_was_copied(
        staged: Lab, tmp_path: Path) -> None:
    module = batch(tmp_path)
    staged.act(module)
    staged.pass_time(300)
    by_hand(staged, "Stop-MigrationBatch -Identity Batch01")
    staged.pass_time(300)
    stopped = staged.read(module)
    assert stopped is not None and stopped["status"] == "Stopped" and module.difference(stopped) is not None
    staged.act(module)
    for each in NAMES:
        staged.settled(MailboxSync(address=address(each), batch="Batch01"), within=DAY)
    staged.pass_time(61 * DAY)  # the service stops what nobody has touched for 60 days
    assert status(staged) == "Stopped" and module.difference(staged.read(module)) is None


@pytest.mark.requirement("S-34")
def test_a_batch_is_not_made_again_of_who_is_converted(staged: Lab, tmp_path: Path) -> None:
    staged.act(batch(tmp_path))
    for each in NAMES:
        staged.settled(MailboxSync(address=address(each), batch="Batch01"), within=DAY)
    staged.act(MailUserConversion(
        address=address("anna"), routing_address="anna@contoso.onmicrosoft.com", cloud_legacy_dn="/o=ExchangeLabs/cn=a",
        cloud_guid="0f8fad5b-d9cb-469f-a165-70867728950e"))
    for days in (61, 91):  # the service stops what nobody touches for 60 days, and removes it 90 days later
        staged.pass_time(days * DAY)
    assert staged.read(batch(tmp_path)) is None
    with pytest.raises(Rejected, match=r"anna@contoso\.com of its list is converted already"):
        staged.act(batch(tmp_path))
    assert staged.read(batch(tmp_path)) is None


# ---------------------------------------------------------------------------------------------------- cutover


@pytest.mark.requirement("C-14")
def test_a_cutover_is_one_batch_of_everybody_without_a_list(cutover: Lab, tmp_path: Path) -> None:
    module = batch(tmp_path)
    assert module.csv == ""
    cutover.act(module)
    cutover.settled(module)
    for name in NAMES:
        cutover.settled(MailboxSync(address=address(name), batch="Batch01"), within=2 * DAY)
    assert list(cutover.site.exchange_online.migration_batches()) == ["Batch01"]


@pytest.mark.requirement("C-28")
def test_a_second_cutover_batch_is_refused_with_the_name_of_the_first(cutover: Lab, tmp_path: Path) -> None:
    cutover.act(batch(tmp_path, "created"))
    with pytest.raises(Rejected) as refused:
        cutover.act(batch(tmp_path, "created", "Second"))
    assert "the batch Batch01 (Created) is in the tenant" in refused.value.text and "C-28" in refused.value.text
    assert list(cutover.site.exchange_online.migration_batches()) == ["Batch01"]


@pytest.mark.requirement("C-28")
def test_a_cutover_beside_an_imap_batch_is_refused(cutover: Lab, tmp_path: Path) -> None:
    by_hand(cutover, "New-MigrationEndpoint -IMAP -Name imap -RemoteServer imap.contoso.com")
    cutover.site.exchange_online.invoke(
        "New-MigrationBatch", Name="Old", SourceEndpoint="imap",
        CSVData={"@odata.type": "#Exchange.ByteArrayType", "Data": list(write(["x@contoso.com"]))})
    with pytest.raises(Rejected) as refused:
        cutover.act(batch(tmp_path, "created"))
    assert "the batch Old (Created)" in refused.value.text


@pytest.mark.requirement("C-16")
def test_a_synced_cutover_is_synchronised_every_day_and_asked_for_it_where_it_is_not(
        cutover: Lab, tmp_path: Path) -> None:
    cutover.act(batch(tmp_path))
    module = IncrementalSync(batch="Batch01")
    state = cutover.settled(module, within=2 * DAY)
    first = stamp(state)
    cutover.pass_time(25 * 3600)
    state = cutover.settled(module)
    assert stamp(state) > first

    behind = IncrementalSync(batch="Batch01", within=module.within / 100)
    cutover.pass_time(3600)
    cutover.act(behind)
    waits = verdict(cutover, behind)
    assert isinstance(waits, Waiting) and "IncrementalSyncing" in waits.reason
    cutover.settled(behind, within=3600, step=60)


@pytest.mark.requirement("C-16")
def test_a_stopped_cutover_is_told_and_started_again(cutover: Lab, tmp_path: Path) -> None:
    cutover.act(batch(tmp_path))
    module = IncrementalSync(batch="Batch01")
    cutover.settled(module, within=2 * DAY)
    cutover.pass_time(61 * DAY)  # nobody has touched it for 60 days
    told = verdict(cutover, module)
    assert isinstance(told, Failing) and "60 days" in told.reason
    cutover.act(module)
    cutover.settled(module, within=2 * DAY)
    by_hand(cutover, "Stop-MigrationBatch -Identity Batch01")
    cutover.pass_time(91 * DAY)
    gone = verdict(cutover, module)
    assert isinstance(gone, Failing) and "no batch Batch01" in gone.reason


def stamp(state: State | None) -> str:
    assert state is not None
    return str(state["last_synced"])
