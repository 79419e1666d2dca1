"""Exchange Online's cmdlet door: what goes over it, what never does, and how its answers are read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.connections.secrets import Secret
from engine.connections.service_errors import KNOWN, classify
from engine.contract import Denied, InDoubt, Rejected, Unreachable
from tests.connections.cloud_server import START, TENANT, Cloud, Reply, Seen, running


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path) as found:
        yield found


def _error(text: str, status: int = 400) -> Reply:
    return Reply(status, {"error": {"code": "BadRequest", "message": "outer", "details": [
        {"code": "Context", "target": "", "message": text}]}})


def test_a_cmdlet_goes_as_the_official_module_sends_it(cloud: Cloud) -> None:
    cloud.in_turn(Reply(200, {"value": [{"Identity": "B1", "Status@data.type": "x", "@odata.id": "y"}],
                              "@adminapi.warnings": ["careful"]}))
    assert cloud.site().exchange_online.invoke("Start-MigrationBatch", Identity="B1") == [{"Identity": "B1"}]
    seen = cloud.seen[0]
    assert seen.path == f"/adminapi/beta/{TENANT}/InvokeCommand"
    assert seen.body == {"CmdletInput": {"CmdletName": "Start-MigrationBatch",
                                         "Parameters": {"Identity": "B1", "Confirm": False}}}
    assert seen.headers["X-CmdletName"] == "Start-MigrationBatch"
    assert seen.headers["X-AnchorMailbox"].endswith("}@" + TENANT)
    assert seen.headers["X-AnchorMailbox"].startswith("APP:SystemMailbox{")


def test_the_next_page_is_posted_with_the_same_body(cloud: Cloud) -> None:
    cloud.in_turn(Reply(200, {"value": [{"Identity": "anna@contoso.com/42", "Status": "Synced", "BatchId": "B1",
                                         "LastSuccessfulSyncTime": "2026-11-01T10:00:00Z"}],
                              "@odata.nextLink": f"{cloud.origin}/adminapi/beta/{TENANT}/InvokeCommand?skip=1"}),
                  Reply(200, {"value": [{"Identity": "ben@contoso.com", "Status": "Failed", "BatchId": "B1",
                                         "ErrorSummary": "MigrationTransientException"}]}))
    users = cloud.site().exchange_online.migration_users()
    assert {address: user.state for address, user in users.items()} == {
        "anna@contoso.com": "synced", "ben@contoso.com": "failed"}
    assert users["anna@contoso.com"].identity == "anna@contoso.com/42"
    assert users["anna@contoso.com"].last_success is not None
    assert [each.method for each in cloud.seen] == ["POST", "POST"] and cloud.seen[0].body == cloud.seen[1].body


@pytest.mark.parametrize("parameters", [
    {"Name": "e", "Credentials": {"user": "a"}}, {"Name": "e", "Password": "x"},
    {"Name": Secret("env", "X")}, {"Identity": None}, {"Identity": "  "}, {"Identity": ""}])
def test_no_credential_and_no_null_identity_ever_leaves(cloud: Cloud, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"never sent|every object"):
        cloud.site().exchange_online.invoke("Remove-MigrationBatch", **parameters)
    assert cloud.seen == [] and cloud.tokens == 0


def test_an_error_is_told_by_its_exceptions_class(cloud: Cloud) -> None:
    cloud.in_turn(_error("Ex6F9304|Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException|"
                         "The batch 'B|1' couldn't be found.", 404))
    with pytest.raises(Rejected) as caught:
        cloud.site().exchange_online.invoke("Remove-MigrationBatch", Identity="B1")
    assert caught.value.code == "404 ManagementObjectNotFoundException"
    assert caught.value.text == "The batch 'B|1' couldn't be found."


def test_a_considered_error_with_status_500_is_no_doubt_but_a_bare_one_is(cloud: Cloud) -> None:
    cloud.in_turn(_error("Ex1|Microsoft.Exchange.Migration.MigrationBatchExistsException|exists", 500))
    with pytest.raises(Rejected):
        cloud.site().exchange_online.invoke("New-MigrationBatch", Name="B1")
    cloud.in_turn(Reply(500, None))
    with pytest.raises(InDoubt):
        cloud.site().exchange_online.invoke("New-MigrationBatch", Name="B1")


def test_throttling_that_only_the_text_shows_is_waited_out(cloud: Cloud) -> None:
    cloud.in_turn(_error("You have reached the maximum number of concurrent requests per tenant. Please wait."),
                  Reply(200, {"value": []}))
    assert cloud.site().exchange_online.invoke("Get-MigrationConfig") == []
    assert len(cloud.seen) == 2


def test_a_missing_role_is_named_and_partial_failures_are_failures(cloud: Cloud) -> None:
    cloud.in_turn(Reply(403, None))
    with pytest.raises(Denied) as caught:
        cloud.site().exchange_online.migration_batches()
    assert "Migration" in caught.value.remedy
    cloud.in_turn(Reply(200, {"value": [], "@adminapi.errors": ["half of it failed"]}))
    with pytest.raises(Rejected):
        cloud.site().exchange_online.migration_batches()


def test_a_batch_has_ten_parts_and_a_bad_part_is_alone(cloud: Cloud) -> None:
    def answer(seen: Seen) -> Reply:
        if not seen.path.endswith("$batch"):
            return _error("Ex|a.MailboxNotFoundException|gone", 404)
        parts = []
        for part in seen.body["requests"]:
            name = part["body"]["CmdletInput"]["Parameters"]["Identity"]
            bad = name == "m3@contoso.com"
            parts.append({"id": part["id"], "status": 404 if bad else 200, "body": _error("Ex|a.B|no").body if bad
                          else {"value": [{"ItemCount": 7}]}})
        return Reply(200, {"responses": parts[::-1]})
    cloud.answer = answer
    addresses = [f"m{n}@contoso.com" for n in range(12)]
    counts = cloud.site().exchange_online.item_counts(addresses)
    assert counts == {each: 7 for each in addresses if each != "m3@contoso.com"}
    assert [len(each.body["requests"]) for each in cloud.seen] == [10, 2]


def test_recipients_join_three_listings_and_know_the_routing_address(cloud: Cloud) -> None:
    proxies = ["SMTP:anna@contoso.com", "smtp:anna@contoso.onmicrosoft.com", "X500:/o=x"]
    listings = {
        "Get-Recipient": [{"PrimarySmtpAddress": "anna@contoso.com", "RecipientTypeDetails": "UserMailbox",
                           "EmailAddresses": proxies},
                          {"PrimarySmtpAddress": "all@contoso.com", "RecipientTypeDetails": "GroupMailbox"}],
        "Get-MailUser": [{"PrimarySmtpAddress": "Ben@contoso.com", "RecipientTypeDetails": "MailUser",
                          "EmailAddresses": [], "ExchangeGuid": "00000000-0000-0000-0000-000000000000"}],
        "Get-Mailbox": [{"PrimarySmtpAddress": "anna@contoso.com", "RecipientTypeDetails": "UserMailbox",
                         "EmailAddresses": proxies, "ExchangeGuid": "A0000000-0000-0000-0000-000000000001",
                         "LegacyExchangeDN": "/o=ExchangeLabs/cn=anna"}]}
    cloud.answer = lambda seen: Reply(200, {"value": listings[seen.headers["X-CmdletName"]]})
    found = cloud.site().exchange_online.recipients()
    anna = found["anna@contoso.com"]
    assert (anna.type, anna.routing_address) == ("mailbox", "anna@contoso.onmicrosoft.com")
    assert anna.guid == "a0000000-0000-0000-0000-000000000001" and anna.legacy_dn == "/o=ExchangeLabs/cn=anna"
    assert found["anna@contoso.onmicrosoft.com"] is anna
    assert found["ben@contoso.com"].type == "mail_user" and found["ben@contoso.com"].guid is None
    assert found["all@contoso.com"].type == "recipient"


def test_a_long_message_trace_is_asked_in_windows_and_gone_on_with(
        cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.connections.exchange_online.TRACE_ROWS_MAX", 2)
    asked: list[dict[str, Any]] = []

    def answer(seen: Seen) -> Reply:
        parameters = seen.body["CmdletInput"]["Parameters"]
        asked.append(parameters)
        rows = [{"MessageId": f"<{len(asked)}.{n}@x>", "RecipientAddress": "A@contoso.com", "Status": "Delivered",
                 "Received": f"2026-10-31T0{5 - len(asked)}:0{n}:00"} for n in range(2 if len(asked) == 2 else 1)]
        return Reply(200, {"value": rows})
    cloud.answer = answer
    rows = cloud.site().exchange_online.message_trace(START - timedelta(days=15))
    assert len(asked) == 3 and asked[0]["StartDate"] == "2026-10-18T07:00:00.0000000Z"
    assert asked[2]["StartingRecipientAddress"] == "a@contoso.com"
    assert asked[2]["EndDate"].startswith("2026-10-31T03:01")
    assert rows["<2.1@x>"].recipient == "a@contoso.com" and rows["<2.1@x>"].received.tzinfo is not None


def test_an_unreachable_service_is_no_empty_listing(cloud: Cloud) -> None:
    cloud.in_turn(Reply(503))
    with pytest.raises(Unreachable):
        cloud.site().exchange_online.migration_batches()


@pytest.mark.parametrize(("text", "kind", "action"), [
    ("MigrationPermanentException: Job is poisoned, poison count = 6.", "E11", "retry"),
    ("SyncTimeoutException: no email could be downloaded for 5 hours", "E12", "retry"),
    ("Couldn't connect to the source mailbox.", "E05", "fix first"),
    ("A valid primary e-mail address couldn't be found in the cloud-based service", "E07", "fix first"),
    ("stalled because constraint not satisfied: StalledDueToTarget_Processor", "E15", "wait"),
    ("The connection to the server 'mail.contoso.com' could not be completed.", "E01", "fix first"),
    ("Words nobody has written down", "unclassified", "fix first")])
def test_error_texts_are_classified(text: str, kind: str, action: str) -> None:
    found = classify(text)
    assert (found.id, found.action) == (kind, action)


def test_the_table_names_every_known_error_once() -> None:
    assert sorted(each.id for each in KNOWN) == [f"E{n:02}" for n in range(1, 28)]
