"""Each of the service's 27 known errors, produced by the lab through the door where it comes: id, class, remedy, and
the recovery after the fix where the service allows one (migration-service notes, section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.connections.service_errors import KNOWN, UNCLASSIFIED, classify, explained
from engine.contract import Failing, InDoubt, Rejected, Unreachable, Waiting
from engine.modules.delivery_probe import DeliveryProbe
from engine.modules.endpoint_test import EndpointTest
from engine.modules.mailbox_sync import MailboxSync
from tests.modules.lab_cloud import Lab
from tests.modules.service_stand import ENDPOINT, address, batch, endpoint, list_file, service, typed

DAY = 24 * 3600
BY_ID = {known.id: known for known in KNOWN}

#: error → what the mailbox's row says; a staged and a cutover organisation, as the service's pages tell them apart
STAGED = ("E06", "E07", "E08", "E09", "E11", "E12", "E13", "E24")
CUTOVER = ("E05", "E20", "E21", "E25")


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("staged")
    names: dict[str, dict[str, Any]] = {"anna": {}, "ben": {}, "dora": {}, "e23": {}}
    names |= {error.lower(): {"fail": error} for error in (*STAGED, "E14", "E15")}
    with service("staged", folder, names) as lab:
        # anna and ben stay where they are for the tests of the other doors
        list_file(folder, [name for name in names if name not in ("anna", "ben", "dora", "e14", "e15")])
        lab.control("/fault", {"kind": "skipped", "address": address("e23"), "count": 3, "listed": False})
        lab.act(batch(folder))
        yield lab


@pytest.fixture(scope="module")
def cutover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("cutover")
    names: dict[str, dict[str, Any]] = {"anna": {}, "carl": {"fail": "E05"}}
    names |= {error.lower(): {"fail": error} for error in CUTOVER}
    groups = [{"address": address("staff"), "name": "Staff", "security": False,
               "members": [address("anna"), address("carl")]}]
    with service("cutover", folder, names, groups=groups) as lab:
        lab.act(batch(folder))
        yield lab


def sync(error: str) -> MailboxSync:
    return MailboxSync(address=address(error.lower()), batch="Batch01")


def until(lab: Lab, module: MailboxSync, *states: str) -> dict[str, Any]:
    for _ in range(96):
        state = lab.read(module)
        if state is not None and state["state"] in states:
            return dict(state)
        lab.pass_time(1800)
    raise AssertionError(state)


def judged(module: MailboxSync, state: dict[str, Any]) -> Failing | Waiting:
    diff = module.difference(state)
    assert diff is not None
    outlook = module.outlook(state, diff)
    assert isinstance(outlook, Failing | Waiting)
    return outlook


@pytest.mark.requirement("B-33")
@pytest.mark.parametrize("error", [*STAGED, *CUTOVER])
def test_a_mailbox_that_fails_says_kind_cause_and_remedy_and_recovers(
        error: str, request: pytest.FixtureRequest) -> None:
    lab: Lab = request.getfixturevalue("staged" if error in STAGED else "cutover")
    module, known = sync(error), BY_ID[error]
    state = until(lab, module, "failed")
    assert state["error_class"] == error
    outlook = judged(module, state)
    assert isinstance(outlook, Failing)
    assert state["error"] in outlook.reason and known.cause in outlook.reason and outlook.remedy == known.remedy
    assert outlook.retry == (known.action == "retry")

    if not outlook.retry:  # only after the fix: a second try without it fails alike
        lab.act(module)
        assert until(lab, module, "failed")["error_class"] == error
        lab.control("/fault", {"kind": "mailbox", "address": module.address, "error": None})
    lab.act(module)
    lab.settled(module, within=3 * DAY)


@pytest.mark.requirement("B-32")
@pytest.mark.parametrize("error", ["E14", "E15"])
def test_what_the_service_gets_over_by_itself_is_waited_for_with_its_reason(
        staged: Lab, tmp_path: Path, error: str) -> None:
    list_file(tmp_path, [error.lower()], f"Slow{error}")
    staged.act(batch(tmp_path, "started", f"Slow{error}"))
    staged.pass_time(600)
    module = sync(error)
    state = staged.read(module)
    assert state is not None and state["status"] == "Syncing" and state["error"]
    outlook = judged(module, dict(state))
    assert isinstance(outlook, Waiting) and error in outlook.reason and str(state["error"]) in outlook.reason
    staged.settled(module, within=3 * DAY)


@pytest.mark.requirement("B-32")
def test_a_copy_without_progress_is_told_as_stalled_with_what_to_do(staged: Lab, tmp_path: Path) -> None:
    staged.control("/fault", {"kind": "mailbox", "address": address("ben"), "error": "E13"})
    list_file(tmp_path, ["ben"], "Stalled")
    staged.act(batch(tmp_path, "started", "Stalled"))
    staged.pass_time(2 * 3600)
    module = sync("ben")
    state = staged.read(module)
    assert state is not None and 100 < int(str(state["stalled_minutes"])) < 180
    assert "stalled" not in str(judged(module, dict(state)))
    staged.pass_time(2 * 3600)
    state = staged.read(module)
    outlook = judged(module, dict(state or {}))
    assert isinstance(outlook, Waiting) and "stalled: no progress for 3 h" in outlook.reason
    assert "max_concurrent_migrations" in outlook.reason
    assert until(staged, module, "failed")["error_class"] == "E13"


@pytest.mark.parametrize("error", ["E01", "E02", "E03", "E04"])
@pytest.mark.requirement("B-26", "B-22")
def test_the_availability_test_says_what_is_wrong_with_the_way_to_the_source(staged: Lab, error: str) -> None:
    staged.control("/fault", {"kind": "endpoint", "error": error})
    test = EndpointTest(endpoint=ENDPOINT, max_age=timedelta(seconds=0))
    staged.pass_time(60)
    with pytest.raises(Rejected) as refused:
        staged.act(test)
    assert refused.value.code == error and refused.value.remedy == BY_ID[error].remedy
    assert BY_ID[error].cause in refused.value.text
    staged.control("/fault", {"kind": "endpoint", "error": None})
    staged.pass_time(60)
    staged.act(EndpointTest(endpoint=ENDPOINT))
    found = staged.settled(EndpointTest(endpoint=ENDPOINT))
    assert found is not None and found["result"] == "Success"


@pytest.mark.requirement("B-21")
def test_an_endpoint_made_with_a_wrong_password_is_refused_at_the_desk(staged: Lab) -> None:
    said = typed(staged, staged.act(endpoint(name="second")), password="not this one")
    assert not said["ok"] and classify(said["errors"][0]).id == "E04"


@pytest.mark.parametrize("error", ["E10", "E16", "E17", "E18", "E25", "E27"])
def test_a_batch_the_service_refuses_says_why_and_what_to_do(staged: Lab, tmp_path: Path, error: str) -> None:
    list_file(tmp_path, ["anna"], "Other")
    other = batch(tmp_path, "created", "Other")
    staged.control("/fault", {"kind": "refuse", "match": "exo New-MigrationBatch", "error": error, "times": 1})
    with pytest.raises(Rejected) as refused:
        staged.act(other)
    known = BY_ID[error]
    assert error in refused.value.remedy and known.cause in refused.value.remedy
    assert known.remedy[1:] in refused.value.remedy
    assert staged.read(other) is None


@pytest.mark.requirement("S-24", "S-33")
def test_a_mailbox_of_another_batch_is_refused_by_the_service_itself(staged: Lab, tmp_path: Path) -> None:
    list_file(tmp_path, ["e23", "anna"], "Twice")
    with pytest.raises(Rejected) as refused:
        staged.act(batch(tmp_path, "created", "Twice"))
    assert "E18" in refused.value.remedy and "e23@contoso.com" in refused.value.text


@pytest.mark.requirement("C-14")
def test_a_cutover_while_directory_synchronisation_is_on_is_refused(tmp_path: Path) -> None:
    with service("staged", tmp_path, {"anna": {}}) as lab, pytest.raises(Rejected) as refused:
        lab.act(batch(tmp_path, "created", "Everybody"))
    assert "E19" in refused.value.remedy and "C-07" in refused.value.remedy


@pytest.mark.requirement("B-33")
def test_a_group_that_waits_for_a_member_says_so_until_the_member_is_there(cutover: Lab) -> None:
    group, member = MailboxSync(address=address("staff"), batch="Batch01"), sync("carl")
    assert until(cutover, member, "failed")["error_class"] == "E05"
    for _ in range(16):
        state = cutover.read(group)
        if state is not None and state["status"] == "ProvisionUpdating":
            break
        cutover.pass_time(1800)
    outlook = judged(group, dict(state or {}))
    assert isinstance(outlook, Waiting) and "E22" in outlook.reason and "mend the member" in outlook.reason
    cutover.control("/fault", {"kind": "mailbox", "address": member.address, "error": None})
    cutover.act(member)
    cutover.settled(group, within=3 * DAY)


def test_skipped_items_are_counted_even_where_the_service_lists_none(staged: Lab) -> None:
    state = staged.settled(sync("E23"), within=3 * DAY)
    assert state is not None and state["skipped"] == 3 and state["items"] == 47
    answer = staged.site.exchange_online.user_statistics([address("e23")])[0]
    assert not isinstance(answer, Exception) and answer["SkippedItemCount"] == 3 and answer["SkippedItems"] == []


def test_mail_that_the_cloud_refuses_from_an_old_server_says_so(staged: Lab) -> None:
    staged.settled(sync("E23"), within=3 * DAY)
    staged.control("/fault", {"kind": "forwarding", "error": "E26"})
    probe = DeliveryProbe(id="pilot", to=address("e23"), through="source")
    with pytest.raises(Rejected) as refused:
        staged.act(probe)
    assert "5.7.230" in refused.value.text and "New-TenantExemptionInfo" in refused.value.remedy
    staged.control("/fault", {"kind": "forwarding", "error": None})
    staged.act(probe)
    staged.settled(probe, within=3600, step=60)


# ------------------------------------------------------------------------------------------- the texts alone


@pytest.mark.requirement("B-33")
def test_every_text_of_the_table_is_its_own_kind_and_no_kind_is_without_words() -> None:
    assert [known.id for known in sorted(KNOWN, key=lambda each: each.id)] == [f"E{n:02}" for n in range(1, 28)]
    for known in KNOWN:
        assert known.cause and known.remedy and known.source


@pytest.mark.parametrize(("text", "error"), [
    ("450 4.7.230 Connecting Exchange server version is out-of-date; see aka.ms", "E26"),
    ("550 5.7.230 Connecting Exchange server version is out-of-date", "E26"),
    ("The 'TargetDeliveryDomain' parameter isn't supported for 'ExchangeOutlookAnywhere' migrations.", "E10"),
    ("MigrationPermanentException: Job is poisoned, poison count = 6", "E11"),
    ("SyncTimeoutException: Email migration failed: no email could be downloaded for 5 hours", "E12"),
    ("MigrationTransientException: Error: try later", "E14"),
    ("The maximum number of migration batches is already running. Please remove a batch", "E16"),
    ("The CSV file contains the unknown column 'Colour'", "E17"),
    ("The operation couldn't be performed: it is only allowed for administrators with the role", "E27"),
    ("You can't use the domain because it's not an accepted domain for your organization.", "E20"),
])
def test_wordings_seen_elsewhere_are_known_too(text: str, error: str) -> None:
    assert classify(text).id == error


@pytest.mark.requirement("B-33")
def test_an_unknown_text_is_kept_whole_and_called_unclassified() -> None:
    text = "Something that nobody has ever seen. " * 20
    assert classify(text) is UNCLASSIFIED
    module = sync("E05")
    state = {"state": "failed", "status": "Failed", "error": text, "items": 0, "batch_status": "Syncing"}
    outlook = judged(module, state)
    assert isinstance(outlook, Failing) and text in outlook.reason and "unclassified" in outlook.reason
    fault = Rejected("exchange_online", text)
    assert explained(fault).remedy == "" and fault.text == text


def test_a_fault_that_has_a_remedy_keeps_it_and_its_class() -> None:
    for kind in (Rejected, Unreachable, InDoubt):
        fault = kind("exchange_online", "The source mailbox: Couldn't connect to the source mailbox.", remedy="ours")
        assert explained(fault) is fault and fault.remedy == "ours"
    assert "B-07" in explained(Rejected("exchange_online", "Couldn't connect to the source mailbox.")).remedy


def test_statistics_that_cannot_be_read_do_not_hide_a_copy_that_goes_on(staged: Lab, tmp_path: Path) -> None:
    staged.control("/fault", {"kind": "mailbox", "address": address("dora"), "error": "E13"})
    list_file(tmp_path, ["dora"], "Going")
    staged.act(batch(tmp_path, "started", "Going"))
    staged.pass_time(600)
    staged.control("/fault", {"kind": "refuse", "match": "exo Get-MigrationUserStatistics", "error": "E27", "times": 9})
    state = staged.read(sync("dora"))
    assert state is not None and state["status"] == "Syncing" and state["stalled_minutes"] is None
