"""What the tenant says: synchronised users, seats, the thirty days, rights, ends of secrets, whose clock is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data import table
from engine.modules.checklist import Checklist
from engine.world import SystemClock
from tests.checks.scene import scene

USERS = """
- name: Mailboxes
  targets: mailboxes
  tasks:
    - name: The mailbox is licensed
      licence: {address: "{{ target }}", sku: "{{ row.sku }}", usage_location: "{{ row.usage_location }}"}
- name: Copy
  targets: batches
  tasks:
    - name: The batch exists
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", csv: "{{ row.csv }}", state: created}
"""


@pytest.mark.requirement("S-06", "S-08")
def test_synchronised_users_their_errors_and_a_synchronisation_that_stands_still(tmp_path: Path) -> None:
    def change(there: dict[str, Any]) -> None:
        there["rows"]["mailboxes"][1]["sync_error"] = "PropertyConflict"

    with scene(tmp_path, "staged", change=change) as found:
        assert "sync_health" not in found.findings()
        found.own_domain()
        [error] = found.findings()["sync_health"]
        assert error["text"] == ("1 mailbox whose user has a synchronisation error: ben@contoso.com: PropertyConflict: "
                                 "ProxyAddresses: smtp:ben@contoso.com (S-06)")
        assert found.texts()["managed_where"].startswith("note: 6 mailboxes managed at the source")
        found.lab.post("/desk", script="Set-EntraDirSyncEnabled -EnableDirSync $false", user="a", password="b")
        found.days(0.2)
        said = found.texts()
        assert said["directory_sync"] == (
            "warn: directory synchronisation is off: a staged migration makes no user without it (S-06)")
        found.endpoint()
        found.batch("Batch01", "anna@contoso.com")
        assert "refuse: directory synchronisation is off while a staged migration is under way (Batch01)" in (
            found.texts()["directory_sync"])


@pytest.mark.requirement("S-06")
def test_a_synchronisation_that_stands_still_for_three_hours_is_told(tmp_path: Path) -> None:
    with scene(tmp_path, "staged", description={"sync_seconds": 200_000}) as found:
        found.days(2.9 / 24)
        assert "sync_health" not in found.findings()
        found.days(0.2 / 24)
        assert found.texts()["sync_health"] == (
            "warn: directory synchronisation last ran 2026-11-02 07:00 UTC, more than 3 hours ago (S-06)")


@pytest.mark.requirement("C-04", "C-07")
def test_after_a_cutover_nobody_may_still_be_marked_as_synchronised(tmp_path: Path) -> None:
    with scene(tmp_path, "cutover", description={"directory_sync": True}) as found:
        found.own_domain()
        said = found.texts()
        assert "6 mailboxes whose user is still marked as synchronised" in said["managed_where"]
        assert said["directory_sync"].startswith("refuse: directory synchronisation is on")


@pytest.mark.requirement("B-48", "S-07")
def test_seats_are_counted_and_the_thirty_days_are_told_from_the_users_creation(tmp_path: Path) -> None:
    with scene(tmp_path, "staged", playbook=USERS, description={"seats": {"ENTERPRISEPACK": 3}}) as found:
        [seats] = found.findings()["seats"]
        assert seats["text"] == "ENTERPRISEPACK: 6 needed, 2 of 3 free (B-47)"
        assert seats["remedy"] == "Order 4 seats before the copy ends."
        found.own_domain()
        found.endpoint()
        found.batch("Batch01", "anna@contoso.com", "ben@contoso.com")
        found.cmdlet("Start-MigrationBatch", Identity="Batch01")
        found.days(14)
        assert "licence_days" not in found.findings()  # 16 days are left
        found.days(3)
        stages = found.findings()["licence_days"]
        assert [each["text"].partition(":")[0].partition(";")[0] for each in stages] == [
            "2 mailboxes unlicensed with 14 days left at most",
            "4 mailboxes not copied yet whose user was made more than 16 days ago"]
        assert stages[0]["rows"] == ["anna@contoso.com", "ben@contoso.com"]
        found.days(9)
        first, *_ = found.findings()["licence_days"]
        assert first["text"].startswith("ALARM: 2 mailboxes unlicensed with 7 days left at most")
        found.days(6)
        first, *_ = found.findings()["licence_days"]
        assert first["text"].startswith(
            "ALARM: 2 mailboxes unlicensed for more than 30 days, the first since 2026-12-02")


def test_an_unknown_product_is_told_with_those_there_are(tmp_path: Path) -> None:
    def change(there: dict[str, Any]) -> None:
        for row in there["rows"]["mailboxes"]:
            row["sku"] = "SPE_E3"

    with scene(tmp_path, "staged", change=change) as found:
        [seats] = found.findings()["seats"]
        assert "the tenant has no such product (B-47)" in seats["text"] and seats["remedy"] == "It has SPE_E3."


def test_rights_that_are_missing_and_secrets_that_end_are_in_the_plan(tmp_path: Path) -> None:
    with scene(tmp_path, "staged", playbook=USERS, description={
            "roles": ["Organization.Read.All", "Application.Read.All"], "secret_days": 12}) as found:
        said = found.texts()
        assert said["graph_rights"] == (
            "warn: would be refused: «The mailbox is licensed» needs LicenseAssignment.ReadWrite.All, which the app "
            "has not | warn: would be refused: «The mailbox is licensed» needs User.ReadWrite.All, which the app has "
            "not")
        assert "1 task of Exchange Online need Exchange.ManageAsApp" in said["exchange_rights"]
        assert said["app_credentials"].startswith("warn: a secret 'first' of the app ends on 2026-11-14, before")


def test_a_clock_that_is_hours_ahead_forbids_everything_that_waits(tmp_path: Path) -> None:
    with scene(tmp_path, "staged") as found:
        found.inventory(clock=None)  # this machine's own clock, while the services keep the lab's
        [clock] = found.findings()["clock"]
        ahead = SystemClock().now().isoformat() > "2026-11-02T07"
        assert clock["severity"] == "refuse"
        assert ("ahead of" if ahead else "behind") in clock["text"] and "no wait can be believed" in clock["text"]
        assert found.mailmove("apply", "acme", "--state", "state", "--yes")[0] == 5


def test_dates_that_age_stand_in_one_file_with_source_and_day() -> None:
    known = table()
    assert known["as_of"] and {each["id"] for each in known["dates"]} >= {
        "ews-online-ended", "smtp-auth-basic", "connect-sync-minimum", "mx-microsoft"}
    assert all(each["source"] and each["then"] for each in known["dates"])
    assert all(each["source"] for each in (*known["exchange"].values(), *known["outlook"]))
    assert set(known["exchange"]) == {"2003", "2007", "2010", "2013", "2016", "2019"}
    asked = Checklist(id="desktops", items=("Look at them",), known="outlook").items
    assert asked[0] == "Look at them" and asked[1:] == tuple(
        f"{each['version']}: {each['says']} (as of {known['as_of']})" for each in known["outlook"])


def test_what_is_seen_again_is_not_journalled_again(tmp_path: Path) -> None:
    with scene(tmp_path, "staged") as found:
        for _ in range(3):
            found.mailmove("apply", "acme", "--state", "state", "--yes")
        _, said = found.mailmove("history", "-p", "acme", "--state", "state", "--json")
        kinds = [json.loads(line)["kind"] for line in said.splitlines()]
        assert kinds.count("pinned") == 1 and kinds.count("run") == 3
        observed = [json.loads(line)["body"]["check"] for line in said.splitlines()
                    if json.loads(line)["kind"] == "observed"]
        assert len(observed) == len(set(observed)) > 0
