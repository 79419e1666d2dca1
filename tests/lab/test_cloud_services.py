"""Cmdlet endpoint, Graph, sign-in, desk and faults of the lab as pure handlers: what is refused, paged and counted."""

from __future__ import annotations

import json

import pytest
from cloud_stand import TENANT_ID, Cloud, cloud, csv, description

from engine.lab.http import Request


@pytest.fixture
def lab() -> Cloud:
    found = cloud()
    found.own_domain()
    return found


# --------------------------------------------------------------------------------------------------------- cmdlets


@pytest.mark.parametrize(("name", "parameters", "words"), [
    ("Get-MigrationBatch", {"Nonsense": 1}, "matches parameter name 'Nonsense'"),
    ("Remove-MigrationBatch", {"Identity": "B", "Force": True}, "only in on-premises"),
    ("New-MigrationBatch", {"Name": "B", "BadItemLimit": 5}, "only in on-premises"),
    ("Get-MigrationUser", {"EmailAddress": "a@b.c", "BatchId": "B"}, "Parameter set cannot be resolved"),
    ("New-MigrationEndpoint", {"Name": "E", "ExchangeOutlookAnywhere": True}, "missing mandatory parameters"),
    ("Get-MigrationUser", {"Status": "Sleeping"}, "possible enumeration values"),
    ("Start-MigrationBatch", {"Identity": "B", "Confirm": "no"}, "is not a Boolean"),
    ("Get-Nothing", {}, "no such cmdlet"),
    ("Set-Mailbox", {"Identity": "a"}, "does not simulate"),
    ("New-MigrationBatch", {"Name": "B", "SourceEndpoint": "E", "TargetDeliveryDomain": "x.y", "Confirm": False},
     "'TargetDeliveryDomain' parameter isn't supported"),
    ("New-MigrationEndpoint", {"Name": "E", "ExchangeOutlookAnywhere": True, "Credentials": "x", "RpcProxyServer": "m"},
     "cannot be converted"),
])
def test_a_call_the_service_would_refuse_is_refused(lab: Cloud, name: str, parameters: dict[str, object],
                                                    words: str) -> None:
    assert words in lab.refusal(name, **parameters)
    assert not any(effect.startswith(("batch/", "endpoint/")) for effect in lab.counters.effects)


def test_without_confirm_false_nothing_happens_but_a_question(lab: Cloud) -> None:
    lab.endpoint()
    status, document = lab.exo("New-MigrationBatch", Name="B", SourceEndpoint="onprem",
                               CSVData=csv(["user0@contoso.com"]))
    assert status == 200 and "@adminapi.confirmationmessage" in document and document["value"] == []
    assert lab.migration.batches == {}


def test_a_null_identity_answers_with_everything_and_an_unknown_one_with_an_error(lab: Cloud) -> None:
    lab.endpoint()
    lab.batch(["user0@contoso.com"], "A")
    lab.batch(["user1@contoso.com"], "B")
    assert len(lab.rows("Get-MigrationBatch", Identity=None)) == 2
    assert len(lab.rows("Get-MigrationUserStatistics", Identity=None)) == 2
    assert "MigrationBatchNotFoundException|" in lab.refusal("Get-MigrationBatch", Identity="C")


def test_pages_are_posted_again_and_the_selection_holds(lab: Cloud) -> None:
    seen, query = [], {"$select": "PrimarySmtpAddress"}
    for _ in range(9):
        status, document = lab.exo("Get-Recipient", {"prefer": "odata.maxpagesize=3"}, query, ResultSize="Unlimited")
        assert status == 200 and all(set(row) == {"PrimarySmtpAddress"} for row in document["value"])
        seen += [row["PrimarySmtpAddress"] for row in document["value"]]
        if "@odata.nextLink" not in document:
            break
        query = dict(each.split("=") for each in document["@odata.nextLink"].partition("?")[2].split("&"))
    assert len(seen) == len(set(seen)) == 7
    _, cut = lab.exo("Get-Recipient", ResultSize=2)
    assert len(cut["value"]) == 2 and "more results" in cut["@adminapi.warnings"][0]


def test_exo_cmdlets_show_the_minimum_set_unless_asked_for_more(lab: Cloud) -> None:
    assert "LegacyExchangeDN" not in lab.rows("Get-EXORecipient")[0]
    assert lab.rows("Get-EXORecipient", Properties=["LegacyExchangeDN"])[0]["LegacyExchangeDN"].startswith("/o=Exch")


def test_a_batch_of_cmdlets_has_an_answer_for_each(lab: Cloud) -> None:
    token = lab.sign_in("https://outlook.office365.com")
    parts = [{"id": str(n), "method": "POST", "url": f"https://localhost:2/adminapi/beta/{TENANT_ID}/InvokeCommand",
              "headers": {}, "body": {"CmdletInput": {"CmdletName": name, "Parameters": {}}}}
             for n, name in enumerate(("Get-AcceptedDomain", "Get-Nothing"))]
    said = lab.exchange_service.handle(Request(
        "POST", f"/adminapi/beta/{TENANT_ID}/$batch", {}, {"authorization": f"Bearer {token}"},
        json.dumps({"requests": parts}).encode(), "https://localhost:2"))
    assert [part["status"] for part in json.loads(said.body)["responses"]] == [200, 400]


# ------------------------------------------------------------------------------------------------------------ desk


def test_the_desk_types_what_was_handed_over_and_only_there_a_credential_is_taken(lab: Cloud) -> None:
    script = """
        # for a person
        Connect-ExchangeOnline -Organization contoso.onmicrosoft.com
        $credential = Get-Credential 'CORP\\migadmin'
        New-MigrationEndpoint -Name 'on prem' -ExchangeOutlookAnywhere -Autodiscover `
            -EmailAddress "user0@contoso.com" -Credentials $credential -MaxConcurrentMigrations 10 | Out-Null
        Test-MigrationServerAvailability -Endpoint 'on prem'
    """
    wrong = lab.desk.type(script, lab.organisation.account, "wrong")
    assert not wrong["ok"] and "Access is denied" in wrong["output"] and "wrong" not in wrong["output"]
    said = lab.desk.type(script, lab.organisation.account, lab.organisation.password)
    assert said["ok"] and said["objects"][-1]["Result"] == "Success"
    assert lab.row("Get-MigrationEndpoint", Identity="on prem")["UseAutoDiscover"] is True
    assert lab.organisation.password not in json.dumps(said) and lab.organisation.password not in repr(
        lab.migration.endpoints.by_name)
    assert "not recognized" in lab.desk.type("Format-Disk -All")["output"]
    assert not lab.desk.type("New-MigrationEndpoint -Name (Remove-Item x)")["ok"]


# ----------------------------------------------------------------------------------------------------------- Graph


@pytest.mark.parametrize(("method", "path", "body", "query", "expected"), [
    ("GET", "/nothing", None, {}, (400, "BadRequest")),
    ("PUT", "/users", None, {}, (405, "Request_BadRequest")),
    ("GET", "/users", None, {"select": "id,colour"}, (400, "BadRequest")),
    ("GET", "/users", None, {"top": "1000"}, (400, "Request_UnsupportedQuery")),
    ("GET", "/users", None, {"filter": "startswith(mail,'a')"}, (400, "Request_UnsupportedQuery")),
    ("GET", "/users/nobody@contoso.com", None, {}, (404, "Request_ResourceNotFound")),
    ("PATCH", "/users/user0@contoso.com", {"usageLocation": 5}, {}, (400, "Request_BadRequest")),
    ("PATCH", "/users/user0@contoso.com", {"usagelocation": "DE"}, {}, (400, "Request_BadRequest")),
    ("PATCH", "/users/user0@contoso.com", {"displayName": "X"}, {}, (400, "Request_BadRequest")),
    ("POST", "/users/user0@contoso.com/assignLicense", {"addLicenses": []}, {}, (400, "Request_BadRequest")),
    ("POST", "/domains", {"id": "contoso.com"}, {}, (409, "ObjectConflict")),
    ("GET", "/auditLogs/directoryAudits", None, {}, (501, "NotImplemented")),
])
def test_graph_refuses_what_its_description_does_not_know(
        lab: Cloud, method: str, path: str, body: object, query: dict[str, str], expected: tuple[int, str]) -> None:
    status, document = lab.graph(method, path, body, **query)
    assert (status, document["error"]["code"]) == expected


def test_a_domain_is_verified_only_once_its_record_is_public() -> None:
    lab = cloud()
    lab.graph("POST", "/domains", {"id": "contoso.com"})
    records = lab.graph("GET", "/domains/contoso.com/verificationDnsRecords")[1]["value"]
    assert records[0]["text"].startswith("MS=ms") and len(records[0]["text"]) == 13
    assert lab.graph("POST", "/domains/contoso.com/verify")[0] == 400
    assert lab.graph("GET", "/domains/contoso.com/serviceConfigurationRecords")[0] == 400


def test_the_mx_host_is_never_the_old_pattern(lab: Cloud) -> None:
    hosts = {cloud(seed=seed).tenant.add_domain("contoso.com").mx_host for seed in range(20)}
    assert "contoso-com.mail.protection.outlook.com" not in hosts
    assert any(host.endswith(".mx.microsoft") for host in hosts) and len(hosts) > 3


def test_a_licence_needs_a_usage_location_and_a_free_seat(lab: Cloud) -> None:
    sku = lab.graph("GET", "/subscribedSkus")[1]["value"][0]["skuId"]
    body = {"addLicenses": [{"skuId": sku, "disabledPlans": []}], "removeLicenses": []}
    status, document = lab.graph("POST", "/users/user0@contoso.com/assignLicense", body)
    assert status == 400 and "usage location" in document["error"]["message"]
    assert lab.graph("PATCH", "/users/user0@contoso.com", {"usageLocation": "DE"})[0] == 204
    assert lab.graph("POST", "/users/user0@contoso.com/assignLicense", body)[0] == 200
    assert lab.graph("POST", "/users/user0@contoso.com/assignLicense", body)[0] == 200
    assert lab.counters.effects["licence/user0@contoso.com/ENTERPRISEPACK assign"] == 1
    lab.tenant.skus[sku].seats = 1
    lab.graph("PATCH", "/users/user1@contoso.com", {"usageLocation": "DE"})
    assert lab.graph("POST", "/users/user1@contoso.com/assignLicense", body)[0] == 400


def test_mail_sent_from_the_cloud_reaches_cloud_and_source_and_the_trace_shows_it(lab: Cloud) -> None:
    lab.endpoint()
    lab.batch(["user0@contoso.com", "user1@contoso.com"])
    lab.hours(24)
    body = {"message": {"subject": "Hello", "toRecipients": [
        {"emailAddress": {"address": address}} for address in ("user1@contoso.com", "user2@contoso.com")]}}
    refused = lab.graph("POST", "/users/user0@contoso.com/sendMail", body)[1]
    assert refused["error"]["code"] == "MailboxNotEnabledForRESTAPI"
    lab.graph("PATCH", "/users/user0@contoso.com", {"usageLocation": "DE"})
    sku = lab.graph("GET", "/subscribedSkus")[1]["value"][0]["skuId"]
    lab.graph("POST", "/users/user0@contoso.com/assignLicense", {"addLicenses": [{"skuId": sku}], "removeLicenses": []})
    assert lab.graph("POST", "/users/user0@contoso.com/sendMail", body)[0] == 202
    assert lab.organisation.mailboxes["user2@contoso.com"].items == 103
    traced = lab.row("Get-MessageTraceV2", RecipientAddress=["user1@contoso.com"])
    assert (traced["Subject"], traced["Status"]) == ("Hello", "Delivered")
    both = lab.rows("Get-MessageTraceV2", MessageId=[traced["MessageId"]])
    assert [each["RecipientAddress"] for each in both] == ["user1@contoso.com", "user2@contoso.com"]
    outside = lab.row("Get-MessageTraceV2", RecipientAddress=["user2@contoso.com"])
    assert outside["Status"] == "Delivered"  # what leaves the tenant is traced too


def test_a_message_that_comes_back_is_traced_as_failed_with_its_reason(lab: Cloud) -> None:
    lab.faults.set({"kind": "bounce", "address": "user2@contoso.com", "text": "550 5.1.1 no such user"})
    lab.tenant.transport.send("admin@contoso.onmicrosoft.com", "user2@contoso.com", "<m@x>", "Hello")
    lab.tenant.transport.send("admin@contoso.onmicrosoft.com", "nobody@contoso.com", "<n@x>", "Hello")
    for message_id, reason in (("<m@x>", "550 5.1.1 no such user"), ("<n@x>", "550 5.1.1 RESOLVER.ADR.RecipNotFound")):
        traced = lab.row("Get-MessageTraceV2", MessageId=[message_id])
        assert traced["Status"] == "Failed"
        told = lab.rows("Get-MessageTraceDetailV2", MessageTraceId=traced["MessageTraceId"],
                        RecipientAddress=traced["RecipientAddress"])
        assert [each["Event"] for each in told] == ["Receive", "Fail"] and told[1]["Detail"].startswith(reason)
    assert lab.tenant.transport.delivered() == {}


def test_a_token_ends_on_the_virtual_clock_and_is_for_one_service(lab: Cloud) -> None:
    token = lab.sign_in("https://graph.microsoft.com")
    asked = Request("GET", "/v1.0/domains", {}, {"authorization": f"Bearer {token}"}, b"", "https://localhost:1")
    assert lab.graph_service.handle(asked).status == 200
    lab.clock.advance(3599)
    assert lab.graph_service.handle(asked).status == 200
    lab.clock.advance(1)
    assert lab.graph_service.handle(asked).status == 401
    other = lab.sign_in("https://outlook.office365.com")
    assert lab.graph_service.handle(Request("GET", "/v1.0/domains", {}, {"authorization": f"Bearer {other}"}, b"",
                                            "https://localhost:1")).status == 401


def test_a_large_page_of_users_comes_whole() -> None:
    lab = cloud(description(count=4300))
    lab.own_domain()
    lab.graph("GET", "/users", top="999")
    status, document = lab.graph("GET", "/users", top="999",
                                 select="id,userPrincipalName,mail,proxyAddresses,usageLocation,assignedLicenses")
    assert status == 200 and len(document["value"]) == 999 and "@odata.nextLink" in document


# ---------------------------------------------------------------------------------------------------------- faults


def test_a_refused_request_did_nothing_and_a_dropped_one_did(lab: Cloud) -> None:
    lab.faults.set({"kind": "throttle", "match": "graph POST /domains", "seconds": 17})
    token = lab.sign_in("https://graph.microsoft.com")
    asked = Request("POST", "/v1.0/domains", {}, {"authorization": f"Bearer {token}"}, b'{"id":"fabrikam.com"}',
                    "https://localhost:1")
    said = lab.graph_service.handle(asked)
    assert said.status == 429 and said.headers["Retry-After"] == "17" and "fabrikam.com" not in lab.tenant.domains
    moved = lab.counters.moved
    lab.faults.set({"kind": "drop", "match": "graph POST /domains"})
    assert lab.graph_service.handle(asked).status == 0
    assert "fabrikam.com" in lab.tenant.domains and lab.counters.moved == moved + 1
    assert lab.graph_service.handle(asked).status == 409
    assert lab.counters.effects["domain/fabrikam.com add"] == 1 and lab.counters.moved == moved + 1


def test_a_created_thing_can_be_invisible_for_a_while(lab: Cloud) -> None:
    lab.faults.set({"kind": "hide", "minutes": 10})
    lab.endpoint()
    assert lab.rows("Get-MigrationEndpoint") == []
    assert "couldn't be found" in lab.refusal("Get-MigrationEndpoint", Identity="onprem")
    lab.clock.advance(600)
    assert len(lab.rows("Get-MigrationEndpoint")) == 1


def test_faults_by_seed_are_the_same_for_the_same_seed_and_none_by_default() -> None:
    def drawn(level: str) -> list[object]:
        faults = cloud(level=level).faults
        return [faults.verdict("graph GET /users") for _ in range(300)]

    assert drawn("heavy") == drawn("heavy") and 30 < sum(each is not None for each in drawn("heavy")) < 110
    assert set(drawn("none")) == {None}


def test_sign_in_refuses_in_its_own_words_and_never_by_seed() -> None:
    lab = cloud(level="heavy")
    assert {lab.faults.verdict("sign-in POST token") for _ in range(300)} == {None}
    lab.faults.set({"kind": "throttle", "match": "sign-in", "seconds": 5})
    said = lab.tokens.handle(Request("POST", f"/{TENANT_ID}/oauth2/v2.0/token", origin="https://sign-in"))
    assert said.status == 429 and json.loads(said.body)["error"] == "temporarily_unavailable"


def test_the_trace_goes_on_from_the_last_row_of_the_page_before(lab: Cloud) -> None:
    lab.endpoint()
    users = [f"user{n}@contoso.com" for n in range(4)]
    lab.batch(users)
    lab.hours(24)
    for address in users:
        assert lab.tenant.transport.accept(address, "<one@x>", "a@b.c", "One", lab.clock.now())
    first = lab.rows("Get-MessageTraceV2", ResultSize=2)
    rest = lab.rows("Get-MessageTraceV2", ResultSize=9, EndDate=first[-1]["Received"],
                    StartingRecipientAddress=first[-1]["RecipientAddress"])
    assert [row["RecipientAddress"] for row in first[:1] + rest] == users


def test_a_tenant_that_synchronises_from_the_start_has_done_so_lately() -> None:
    row = cloud().graph("GET", "/organization")[1]["value"][0]
    assert row["onPremisesSyncEnabled"] is True and row["onPremisesLastSyncDateTime"] == "2026-11-02T07:00:00Z"
    off = cloud(description("cutover", exchange="2010")).graph("GET", "/organization")[1]["value"][0]
    assert off["onPremisesSyncEnabled"] is None and off["onPremisesLastSyncDateTime"] is None


def test_a_deleted_user_keeps_its_addresses_until_it_is_purged(lab: Cloud) -> None:
    user = lab.tenant.find("user0@contoso.com")
    assert user is not None
    assert lab.graph("DELETE", "/users/user0@contoso.com")[0] == 204
    assert lab.graph("GET", "/users/user0@contoso.com")[0] == 404
    gone = lab.graph("GET", "/directory/deletedItems/graph.user", select="id,proxyAddresses")[1]["value"]
    assert [each["id"] for each in gone] == [user.id] and "SMTP:user0@contoso.com" in gone[0]["proxyAddresses"]
    assert lab.tenant.holder(["user0@contoso.com"]) is user
    assert lab.graph("DELETE", f"/directory/deletedItems/{user.id}")[0] == 204
    assert lab.tenant.holder(["user0@contoso.com"]) is None
    assert lab.graph("DELETE", f"/directory/deletedItems/{user.id}")[0] == 404


def test_a_sign_in_name_is_unique_in_a_verified_domain_and_not_for_synchronised_users(lab: Cloud) -> None:
    lab.tenant._there_before("extra@contoso.com", "Extra")
    lab.tenant._there_before("other@contoso.com", "Other")
    for upn, status in (("other@contoso.com", 400), ("extra@fabrikam.com", 400), ("e.x@contoso.com", 204)):
        assert lab.graph("PATCH", "/users/extra@contoso.com", {"userPrincipalName": upn})[0] == status
    assert lab.graph("GET", "/users/e.x@contoso.com")[1]["userPrincipalName"] == "e.x@contoso.com"
    assert lab.graph("GET", "/users/extra@contoso.com")[0] == 404  # Graph knows it by its new name only
    assert lab.graph("PATCH", "/users/user0@contoso.com", {"userPrincipalName": "x@contoso.com"})[0] == 400


def test_the_pause_for_out_of_date_servers_has_at_most_ninety_days(lab: Cloud) -> None:
    lab.faults.set({"kind": "forwarding", "error": "E26"})
    assert lab.row("Get-OnPremServerReportInfo")["EnforcementStage"] == "Blocking"
    for days, well in ((91, False), (90, True)):
        said = lab.desk.type(f"New-TenantExemptionInfo -BlockingScenario UnpatchedOnPremServer -ExemptionDays {days}")
        assert said["ok"] is well
    assert lab.rows("Get-OnPremServerReportInfo") == [] and len(lab.rows("Get-TenantExemptionInfo")) == 1
