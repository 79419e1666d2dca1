"""The migration service of the lab: state machines, refusals, and what happens by itself as time goes by."""

from __future__ import annotations

import pytest
from cloud_stand import Cloud, cloud, csv, description

USERS = [f"user{n}@contoso.com" for n in range(6)]


@pytest.fixture
def staged() -> Cloud:
    found = cloud()
    found.own_domain()
    found.endpoint()
    return found


@pytest.fixture
def cutover() -> Cloud:
    found = cloud(description("cutover", exchange="2010"))
    found.own_domain()
    found.endpoint()
    return found


def statuses(lab: Cloud, batch: str = "Batch01") -> dict[str, str]:
    return {row["Identity"]: row["Status"] for row in lab.rows("Get-MigrationUser", BatchId=batch)}


def status(lab: Cloud, batch: str = "Batch01") -> str:
    return str(lab.row("Get-MigrationBatch", Identity=batch)["Status"])


def test_a_staged_batch_converts_mail_users_and_forwards_before_the_copy_ends(staged: Cloud) -> None:
    assert staged.rows("Get-Mailbox") == []
    staged.batch(USERS[:3])
    assert status(staged) == "Starting"

    staged.clock.advance(60 + 30)
    assert set(statuses(staged).values()) == {"Validating"} and status(staged) == "Syncing"
    staged.clock.advance(60 + 120)
    assert set(statuses(staged).values()) == {"Syncing"}
    assert staged.organisation.mailboxes[USERS[0]].target_address == "user0@contoso.onmicrosoft.com"
    assert {row["PrimarySmtpAddress"] for row in staged.rows("Get-Mailbox")} == set(USERS[:3])

    staged.hours(24)
    assert status(staged) == "Synced"
    assert [row["ItemCount"] for row in staged.rows("Get-MailboxStatistics", Identity=USERS[2])] == [102]
    assert staged.organisation.mailboxes[USERS[3]].target_address is None


def test_slots_of_the_endpoint_bound_what_runs_at_once(staged: Cloud) -> None:
    staged.rows("Set-MigrationEndpoint", Identity="onprem", MaxConcurrentMigrations=2, Confirm=False)
    staged.batch(USERS)
    staged.clock.advance(5 * 60)
    assert sorted(statuses(staged).values()) == ["Queued"] * 4 + ["Syncing"] * 2
    staged.hours(24)
    assert set(statuses(staged).values()) == {"Synced"}
    assert staged.migration.endpoints.by_name["onprem"].active == 0


def test_a_row_without_mail_user_fails_alone_and_recovers_when_it_is_there(staged: Cloud) -> None:
    lost = staged.tenant.recipients.pop(USERS[1])
    staged.batch(USERS[:2])
    staged.hours(12)
    assert status(staged) == "SyncedWithErrors"
    failed = staged.row("Get-MigrationUser", EmailAddress=USERS[1])
    assert failed["Status"] == "Failed" and failed["ErrorSummary"].startswith("A valid primary e-mail address couldn't")

    staged.tenant.recipients[USERS[1]] = lost
    staged.rows("Start-MigrationBatch", Identity="Batch01", Confirm=False)
    staged.hours(12)
    assert status(staged) == "Synced"
    assert staged.counters.effects[f"mailbox/{USERS[0]} create"] == 1


@pytest.mark.parametrize(("error", "first", "second"), [
    ("E12", "Failed", "Synced"), ("E05", "Failed", "Failed"), ("E14", "Synced", "Synced"), ("E24", "Failed", "Failed")])
def test_errors_of_the_table_recover_on_restart_only_where_the_table_says_so(
        staged: Cloud, error: str, first: str, second: str) -> None:
    staged.organisation.mailboxes[USERS[0]].fail = error
    staged.batch(USERS[:2])
    staged.hours(48)
    assert statuses(staged) == {USERS[0]: first, USERS[1]: "Synced"}
    if first == "Failed":
        staged.rows("Start-MigrationBatch", Identity="Batch01", Confirm=False)
        staged.hours(48)
    assert statuses(staged)[USERS[0]] == second
    if second == "Failed":
        staged.faults.set({"kind": "mailbox", "address": USERS[0], "error": None})
        staged.rows("Start-MigrationBatch", Identity="Batch01", Confirm=False)
        staged.hours(48)
        assert status(staged) == "Synced"


def test_start_stop_and_remove_are_refused_where_the_status_forbids_them(staged: Cloud) -> None:
    staged.batch(USERS[:2])
    staged.clock.advance(300)
    assert "its status is Syncing" in staged.refusal("Start-MigrationBatch", Identity="Batch01", Confirm=False)
    assert "its status is Syncing" in staged.refusal("Remove-MigrationBatch", Identity="Batch01", Confirm=False)
    assert "uses it" in staged.refusal("Remove-MigrationEndpoint", Identity="onprem", Confirm=False)
    staged.rows("Stop-MigrationBatch", Identity="Batch01", Confirm=False)
    staged.hours(24)
    assert status(staged) == "Stopped" and set(statuses(staged).values()) == {"Stopped"}

    staged.rows("Start-MigrationBatch", Identity="Batch01", Confirm=False)
    staged.hours(24)
    assert status(staged) == "Synced"
    assert "can't be stopped" in staged.refusal("Stop-MigrationBatch", Identity="Batch01", Confirm=False)


def test_removing_takes_five_minutes_and_takes_the_history_along(staged: Cloud) -> None:
    staged.batch(USERS[:2])
    staged.hours(24)
    staged.rows("Remove-MigrationBatch", Identity="Batch01", Confirm=False)
    staged.clock.advance(299)
    assert status(staged) == "Removing"
    staged.clock.advance(1)
    assert "MigrationBatchNotFoundException" in staged.refusal("Get-MigrationBatch", Identity="Batch01")
    assert staged.rows("Get-MigrationUser") == []
    assert len(staged.rows("Get-Mailbox")) == 2


def test_a_staged_batch_is_never_synced_again_and_a_restart_only_moves_the_stamp(staged: Cloud) -> None:
    staged.batch(USERS[:1])
    staged.hours(24)
    first = staged.row("Get-MigrationUser", EmailAddress=USERS[0])["LastSuccessfulSyncTime"]
    staged.organisation.mailboxes[USERS[0]].items += 5
    staged.hours(72)
    staged.rows("Start-MigrationBatch", Identity="Batch01", Confirm=False)
    batch = staged.row("Get-MigrationBatch", Identity="Batch01")
    assert batch["LastSyncedDateTime"].startswith(staged.clock.now().strftime("%Y-%m-%dT%H:%M"))
    assert staged.row("Get-MigrationUser", EmailAddress=USERS[0])["LastSuccessfulSyncTime"] == first
    assert staged.row("Get-MailboxStatistics", Identity=USERS[0])["ItemCount"] == 100


def test_sixty_idle_days_stop_a_batch_and_ninety_more_remove_it(staged: Cloud) -> None:
    staged.batch(USERS[:1])
    staged.hours(59 * 24)
    assert status(staged) == "Synced"
    staged.hours(2 * 24)
    assert status(staged) == "Stopped"
    staged.hours(91 * 24)
    assert staged.rows("Get-MigrationBatch") == []


def test_cutover_makes_users_and_groups_and_syncs_every_day(cutover: Cloud) -> None:
    assert cutover.rows("Get-MailUser") == []
    cutover.batch(None)
    cutover.hours(12)
    assert status(cutover) == "Synced"
    assert len(cutover.rows("Get-Mailbox")) == 6
    members = cutover.rows("Get-DistributionGroupMember", Identity="all@contoso.com")
    assert {row["PrimarySmtpAddress"] for row in members} == set(USERS[:2])

    cutover.organisation.mailboxes[USERS[0]].items += 7
    before = cutover.row("Get-MigrationUser", EmailAddress=USERS[0])["LastSuccessfulSyncTime"]
    cutover.hours(25)
    assert cutover.row("Get-MigrationUser", EmailAddress=USERS[0])["LastSuccessfulSyncTime"] > before
    assert cutover.row("Get-MailboxStatistics", Identity=USERS[0])["ItemCount"] == 107
    assert cutover.organisation.mailboxes[USERS[0]].target_address is None


def test_a_security_group_made_before_the_copy_keeps_its_type_and_gets_its_members(cutover: Cloud) -> None:
    cutover.row("New-DistributionGroup", Name="All", PrimarySmtpAddress="all@contoso.com", Type="Security",
                Confirm=False)
    cutover.batch(None)
    cutover.hours(12)
    group = cutover.row("Get-DistributionGroup", Identity="all@contoso.com")
    assert group["RecipientTypeDetails"] == "MailUniversalSecurityGroup"
    assert len(cutover.rows("Get-DistributionGroupMember", Identity="all@contoso.com")) == 2
    assert cutover.counters.effects["group/all@contoso.com create"] == 1


def test_cutover_is_refused_while_directory_synchronisation_is_on(staged: Cloud) -> None:
    assert "directory synchronization" in staged.refusal(
        "New-MigrationBatch", Name="All", SourceEndpoint="onprem", Confirm=False)
    assert staged.row("Get-MigrationConfig")["SupportsCutover"] is False
    assert staged.desk.type("Set-EntraDirSyncEnabled -EnableDirSync $false -Force")["ok"]
    staged.hours(1)
    assert staged.tenant.sync_enabled is True
    staged.hours(2)
    assert staged.row("Get-MigrationConfig")["SupportsCutover"] is True
    staged.row("New-MigrationBatch", Name="All", SourceEndpoint="onprem", Confirm=False)
    assert "Only one cutover" in staged.refusal("New-MigrationBatch", Name="B", SourceEndpoint="onprem", Confirm=False)


def test_an_unlicensed_mailbox_is_disabled_after_thirty_days(cutover: Cloud) -> None:
    cutover.batch(None)
    cutover.hours(12)
    cutover.graph("PATCH", f"/users/{USERS[0]}", {"usageLocation": "DE"})
    sku = cutover.graph("GET", "/subscribedSkus")[1]["value"][0]["skuId"]
    assert cutover.graph("POST", f"/users/{USERS[0]}/assignLicense", {
        "addLicenses": [{"skuId": sku, "disabledPlans": []}], "removeLicenses": []})[0] == 200
    cutover.hours(31 * 24)
    assert [row["PrimarySmtpAddress"] for row in cutover.rows("Get-Mailbox")] == [USERS[0]]


@pytest.mark.parametrize(("data", "reason"), [
    (b"EmailAddress\r\n", "empty"),
    (b"EmailAddress;Password\r\na@contoso.com;b\r\n", "comma-separated"),
    (b"Address\r\na@contoso.com\r\n", "EmailAddress is missing"),
    (b"EmailAddress,Password\r\na@contoso.com\r\n", "number of columns"),
    (b"EmailAddress,Colour\r\na@contoso.com,red\r\n", "unknown"),
    (b"EmailAddress\r\n" + b"".join(b"u%d@contoso.com\r\n" % n for n in range(2001)), "more than 2000"),
])
def test_the_service_refuses_a_csv_as_its_page_says(staged: Cloud, data: bytes, reason: str) -> None:
    value = {"@odata.type": "#Exchange.ByteArrayType", "Data": list(data)}
    given = {"Name": "B", "SourceEndpoint": "onprem", "CSVData": value, "Confirm": False}
    assert reason in staged.refusal("New-MigrationBatch", **given)
    assert staged.migration.batches == {}


def test_base64_csv_a_missing_endpoint_a_second_batch_and_the_hundredth(staged: Cloud) -> None:
    value = {"@odata.type": "#Exchange.ByteArrayType", "Data": "RW1haWxBZGRyZXNzDQp1c2VyMEBjb250b3NvLmNvbQ0K"}
    assert "couldn't be found" in staged.refusal(
        "New-MigrationBatch", Name="B", SourceEndpoint="other", CSVData=value, Confirm=False)
    staged.row("New-MigrationBatch", Name="B", SourceEndpoint="onprem", CSVData=value, Confirm=False)
    assert "already included in migration batch 'B'" in staged.refusal(
        "New-MigrationBatch", Name="C", SourceEndpoint="onprem", CSVData=csv(USERS[:1]), Confirm=False)
    for number in range(99):
        staged.row("New-MigrationBatch", Name=f"N{number}", SourceEndpoint="onprem",
                   CSVData=csv([f"n{number}@contoso.com"]), Confirm=False)
    assert "maximum number of migration batches" in staged.refusal(
        "New-MigrationBatch", Name="Z", SourceEndpoint="onprem", CSVData=csv(["z@contoso.com"]), Confirm=False)


def test_the_same_seed_gives_the_same_story_and_another_seed_another_one() -> None:
    def story(seed: int) -> tuple[object, ...]:
        lab = cloud(seed=seed)
        lab.own_domain()
        lab.endpoint(slots=2)
        lab.batch(USERS)
        lab.clock.advance(3000)
        return statuses(lab), lab.tenant.state(), lab.migration.state(), dict(lab.counters.effects)

    assert story(1) == story(1)
    assert story(1)[1] != story(2)[1]
