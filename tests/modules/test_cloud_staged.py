"""The cloud modules of a staged migration, in order, against the rehearsal organisation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from engine.contract import Failing, Handover, Rejected, State, Unreachable, Waiting
from engine.modules.accepted_domain import AcceptedDomain
from engine.modules.batch_history import BatchHistory
from engine.modules.cloud_recipient import CloudRecipient
from engine.modules.directory_sync import DirectorySync
from engine.modules.endpoint_test import EndpointTest
from engine.modules.licence import Licence
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.tenant_domain import TenantDomain
from tests.modules.lab_cloud import DOMAIN, PEOPLE, Lab, running

ANNA = f"anna@{DOMAIN}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running("staged", tmp_path_factory.mktemp("staged")) as found:
        yield found


def _batch(lab: Lab, state: str) -> MigrationBatch:
    csv = str(Path(lab.site.settings["exports"]).parent / "Batch01.csv")
    return MigrationBatch(name="Batch01", endpoint="contoso-endpoint", csv=csv, state=state)  # type: ignore[arg-type]


@pytest.mark.requirement("B-11", "B-13", "B-16", "C-05")
def test_1_a_domain_is_added_proven_and_verified(lab: Lab) -> None:
    present, verified = TenantDomain(domain=DOMAIN, state="present"), TenantDomain(domain=DOMAIN)
    assert lab.read(present) is None
    lab.act(present)
    state = lab.settled(present, within=3600)
    assert state is not None and state["state"] == "present" and str(state["verification_txt"]).startswith("MS=ms")
    assert state["mx_host"] is None

    with pytest.raises(Unreachable) as early:
        lab.act(verified)
    assert early.value.code.startswith("400")

    lab.publish(DOMAIN, str(state["verification_txt"]))
    lab.pass_time(900)  # B-15
    lab.act(verified)
    after = lab.settled(verified, within=3600)
    assert after is not None and after["verification_txt"] == state["verification_txt"]
    assert str(after["mx_host"]).endswith(".") and after["autodiscover_host"] == "autodiscover.outlook.com."

    accepted = AcceptedDomain(domain=DOMAIN)
    assert lab.read(accepted) is None  # Exchange Online learns of it later
    assert lab.settled(accepted, within=24 * 3600) == {"accepted": True}


def test_2_directory_sync_is_read_and_never_switched_by_us(lab: Lab) -> None:
    fresh = DirectorySync(enabled=True, fresh_within=timedelta(hours=3))
    assert fresh.difference(lab.read(fresh)) is None
    stale = DirectorySync(enabled=True, fresh_within=timedelta(seconds=0))
    lab.pass_time(60)
    state = lab.read(stale)
    diff = stale.difference(state)
    assert diff is not None and isinstance(stale.outlook(state, diff), Waiting)
    handed = lab.act(DirectorySync(enabled=False))
    assert isinstance(handed, Handover) and "Set-EntraDirSyncEnabled -EnableDirSync $false" in handed.text


def test_3_the_endpoint_is_handed_over_typed_by_a_person_and_tested(lab: Lab) -> None:
    endpoint = MigrationEndpoint(
        name="contoso-endpoint", email_address=ANNA, account="CORP\\migadmin", autodiscover=False,
        exchange_server="EX01.corp.contoso.com", rpc_proxy_server="mail.contoso.com", max_concurrent_migrations=20)
    handed = lab.act(endpoint)
    assert isinstance(handed, Handover) and "(Get-Credential" in handed.text
    typed = lab.control("/desk", {"script": handed.text, "user": "CORP\\migadmin",
                                  "password": lab.ready["connections"]["directory"]["password"]})
    assert typed["ok"], typed
    lab.settled(endpoint, within=3600)

    test = EndpointTest(endpoint="contoso-endpoint")
    lab.act(test)
    state = lab.settled(test)
    assert state is not None and state["result"] == "Success" and state["current"]
    with pytest.raises(Rejected):
        lab.act(EndpointTest(endpoint="no-such-endpoint"))

    fewer = MigrationEndpoint(name="contoso-endpoint", email_address=ANNA, account="corp\\migadmin",
                              autodiscover=False, exchange_server="ex01.corp.contoso.com",
                              rpc_proxy_server="mail.contoso.com", max_concurrent_migrations=10)
    assert lab.act(fewer) is None
    lab.settled(fewer, within=3600)


def test_4_mail_users_appear(lab: Lab) -> None:
    there = CloudRecipient(address=ANNA)
    state = lab.settled(there, within=24 * 3600)
    assert state is not None and state["type"] == "mail_user"
    assert isinstance(there.outlook(None, there.difference(None)), Waiting)  # type: ignore[arg-type]


def test_5_a_batch_is_created_with_its_members_and_started_once(lab: Lab) -> None:
    created, started = _batch(lab, "created"), _batch(lab, "started")
    lab.act(created)
    state = lab.settled(created, within=3600, step=60)
    assert state is not None and state["count"] == len(PEOPLE) and state["state"] == "created"
    lab.act(started)
    lab.settled(started, within=3600, step=60)
    effects = lab.control("/counters")["effects"]
    assert effects["batch/Batch01 create"] == 1 and effects["batch/Batch01 start"] == 1


def test_6_every_mailbox_is_followed_until_its_copy_is_complete(lab: Lab) -> None:
    syncs = [MailboxSync(address=f"{each}@{DOMAIN}", batch="Batch01") for each in PEOPLE]
    states = lab.site.exchange_online.migration_users()
    assert set(states) == {sync.address for sync in syncs}
    for sync in syncs:
        state = lab.settled(sync, within=3 * 24 * 3600)
        assert state is not None and state["items"] == 50 and state["last_success"] is not None
    cloud = lab.settled(CloudRecipient(address=ANNA, at_least="mailbox"), within=3600)
    assert cloud is not None and str(cloud["routing_address"]).endswith("contoso.onmicrosoft.com")
    assert len(str(cloud["guid"])) == 36 and str(cloud["legacy_dn"]).startswith("/o=")
    counts = lab.site.exchange_online.item_counts([sync.address for sync in syncs])
    assert counts == {sync.address: 50 for sync in syncs}


def test_7_licences_are_assigned_in_one_batch_and_one_bad_row_is_alone(lab: Lab) -> None:
    rows = [Licence(address=f"{each}@{DOMAIN}", sku="EXCHANGESTANDARD", usage_location="de") for each in PEOPLE]
    rows.insert(1, Licence(address=f"nobody@{DOMAIN}", sku="EXCHANGESTANDARD", usage_location="DE"))
    acts = []
    for row in rows:
        diff = row.difference(lab.read(row))
        assert diff is not None
        acts.append((row, diff))
    answers = Licence.apply_many(lab.site, acts)
    assert [isinstance(each, Rejected) for each in answers] == [False, True, False, False]
    for row in (rows[0], *rows[2:]):
        lab.settled(row, within=3600)
    assert ANNA in lab.site.graph.licensed_addresses()
    assert isinstance(Licence.apply_many(lab.site, [(Licence(address=ANNA, sku="NO_SUCH"), acts[0][1])])[0], Rejected)


def test_8_the_history_is_exported_before_the_batch_is_removed(lab: Lab) -> None:
    history, absent = BatchHistory(batch="Batch01"), _batch(lab, "absent")
    assert lab.read(history) is None
    lab.act(history)
    state = lab.settled(history)
    assert state is not None and state["users"] == len(PEOPLE)
    folder = Path(str(lab.site.settings["exports"]))
    kept = json.loads((folder / "batch-Batch01.json").read_text())
    assert {user["Identity"] for user in kept["users"]} == {f"{each}@{DOMAIN}" for each in PEOPLE}
    assert len(kept["statistics"]) == len(PEOPLE)
    assert (folder / "batch-Batch01.csv").read_text("utf-8-sig").startswith("address,status,items")

    lab.act(absent)
    state = lab.read(absent)
    if state is not None:
        diff = absent.difference(state)
        assert diff is not None and isinstance(absent.outlook(state, diff), Waiting)
    assert lab.settled(absent, within=3600, step=60) is None
    assert BatchHistory(batch="Batch01").difference(lab.read(history)) is None
    assert lab.control("/counters")["effects"]["batch/Batch01 remove"] == 1


def test_9_nothing_is_left_to_do_and_a_look_changes_nothing(lab: Lab) -> None:
    moved = lab.control("/counters")["moved"]
    for module in (TenantDomain(domain=DOMAIN), CloudRecipient(address=ANNA, at_least="mailbox"),
                   Licence(address=ANNA, sku="EXCHANGESTANDARD", usage_location="DE"), _batch(lab, "absent")):
        assert module.difference(lab.read(module)) is None
    assert lab.control("/counters")["moved"] == moved


def test_failed_copies_are_started_again_only_where_that_may_help() -> None:
    sync = MailboxSync(address=ANNA, batch="Batch01")
    failed: State = {"state": "failed", "status": "Failed",
                     "error": "SyncTimeoutException: no email could be downloaded",
                     "items": 3}
    diff = sync.difference(failed)
    assert diff is not None
    outlook = sync.outlook(failed, diff)
    assert isinstance(outlook, Failing) and outlook.retry and "E12" in outlook.reason
    lasting = sync.outlook({**failed, "error": "Couldn't connect to the source mailbox."}, diff)
    assert isinstance(lasting, Failing) and not lasting.retry and "B-07" in lasting.remedy
    unknown = sync.outlook({**failed, "error": "Something nobody has seen."}, diff)
    assert isinstance(unknown, Failing) and "Something nobody has seen." in unknown.reason
