"""Graph against answers in the documented form: pages, batches judged part by part, the pinned tenant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.contract import InDoubt, Rejected, Unreachable
from tests.connections.cloud_server import START, TENANT, Cloud, Reply, Seen, running


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path) as found:
        yield found


def _user(name: str, **more: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "userPrincipalName": f"{name}@contoso.onmicrosoft.com",
            "proxyAddresses": [f"SMTP:{name.title()}@Contoso.com", f"smtp:{name}.old@contoso.com", "X500:/o=x"],
            "usageLocation": None, "assignedLicenses": [], **more}


def _organization() -> Reply:
    return Reply(200, {"value": [{"id": TENANT.upper(), "displayName": "Contoso", "onPremisesSyncEnabled": None}]})


def test_users_are_listed_over_pages_once_and_found_by_every_address(cloud: Cloud) -> None:
    def answer(seen: Seen) -> Reply:
        if "skiptoken" in seen.path:
            return Reply(200, {"value": [_user("ben", assignedLicenses=[{"skuId": "s1"}])]})
        return Reply(200, {"value": [_user("anna")], "@odata.nextLink": f"{cloud.origin}/v1.0/users?$skiptoken=2"})
    cloud.answer = answer
    graph = cloud.site().graph
    users = graph.users()
    assert users["anna@contoso.com"] is users["anna.old@contoso.com"] is users["anna@contoso.onmicrosoft.com"]
    assert users["ben@contoso.com"].licences == {"s1"} and users["anna@contoso.com"].usage_location is None
    assert graph.users() is users and len(cloud.seen) == 2
    assert "$top=999" in cloud.seen[0].path and "assignedLicenses" in cloud.seen[0].path


def test_pages_that_go_round_or_lead_away_are_refused(cloud: Cloud) -> None:
    cloud.in_turn(Reply(200, {"value": [], "@odata.nextLink": f"{cloud.origin}/v1.0/domains?again"}))
    with pytest.raises(Rejected):
        cloud.site().graph.domains()
    cloud.in_turn(Reply(200, {"value": [], "@odata.nextLink": "https://example.com/"}))
    with pytest.raises(Rejected):
        cloud.site().graph.domains()


def test_an_answer_of_another_shape_is_a_fault_and_never_an_empty_list(cloud: Cloud) -> None:
    cloud.in_turn(Reply(200, {"values": []}))
    with pytest.raises(Rejected):
        cloud.site().graph.users()


def test_each_part_of_a_batch_is_judged_alone_and_throttled_ones_wait_for_the_longest(cloud: Cloud) -> None:
    batches: list[list[str]] = []

    def answer(seen: Seen) -> Reply:
        if seen.path.endswith("/organization"):
            return _organization()
        ids = [part["id"] for part in seen.body["requests"]]
        batches.append(ids)
        if len(batches) == 1:
            return Reply(200, {"responses": [
                {"id": "2", "status": 429, "headers": {"Retry-After": "40"}}, {"id": "0", "status": 200, "body": {}},
                {"id": "1", "status": 400, "body": {"error": {
                    "code": "Request_BadRequest", "message": "License assignment failed: CountViolation"}}},
                {"id": "3", "status": 429, "headers": {"Retry-After": "70"}}]})
        return Reply(200, {"responses": [{"id": each, "status": 200, "body": {}} for each in ids]})
    cloud.answer = answer
    site = cloud.site()
    answers = site.graph.assign_licences([("u0", "s"), ("u1", "s"), ("u2", "s"), ("u3", "s")])
    assert [type(each).__name__ for each in answers] == ["NoneType", "Rejected", "NoneType", "NoneType"]
    assert "seats" in answers[1].remedy  # type: ignore[union-attr]
    assert batches == [["0", "1", "2", "3"], ["2", "3"]]
    assert site.world.clock.now() == START + timedelta(seconds=70)


def test_twenty_parts_a_batch_and_a_lost_answer_leaves_only_its_own_in_doubt(cloud: Cloud) -> None:
    sizes: list[int] = []

    def answer(seen: Seen) -> Reply:
        if seen.path.endswith("/organization"):
            return _organization()
        sizes.append(len(seen.body["requests"]))
        if len(sizes) == 2:
            return Reply(0)
        return Reply(200, {"responses": [{"id": part["id"], "status": 204} for part in seen.body["requests"]]})
    cloud.answer = answer
    answers = cloud.site().graph.set_usage_location([(f"u{n}", "DE") for n in range(45)])
    assert sizes == [20, 20, 5]
    assert [type(each) for each in answers] == [type(None)] * 20 + [InDoubt] * 20 + [type(None)] * 5


def test_nothing_is_written_into_another_tenant(cloud: Cloud) -> None:
    cloud.in_turn(Reply(200, {"value": [{"id": "another"}]}))
    with pytest.raises(Rejected) as caught:
        cloud.site().graph.add_domain("contoso.com")
    assert "tenant another" in str(caught.value) and [each.method for each in cloud.seen] == ["GET"]


def test_a_proof_that_is_not_seen_yet_is_tried_again_later(cloud: Cloud) -> None:
    cloud.in_turn(_organization(), Reply(400, {"error": {"code": "Request_BadRequest", "message": "not found"}}))
    with pytest.raises(Unreachable) as caught:
        cloud.site().graph.verify_domain("contoso.com")
    assert caught.value.retry_after == 900


def test_only_records_for_mail_count_and_hosts_get_their_dot(cloud: Cloud) -> None:
    records = [
        {"recordType": "Mx", "supportedService": "Email", "mailExchange": "Contoso-com.d-v1.mx.microsoft",
         "preference": 0, "label": "contoso.com"},
        {"recordType": "CName", "supportedService": "Email", "label": "autodiscover.contoso.com",
         "canonicalName": "autodiscover.outlook.com"},
        {"recordType": "CName", "supportedService": "Intune", "label": "autodiscover.contoso.com",
         "canonicalName": "elsewhere.example"},
        {"recordType": "Txt", "supportedService": "Email", "text": "v=spf1 include:spf.protection.outlook.com -all"}]
    cloud.answer = lambda seen: Reply(200, {"responses": [
        {"id": part["id"], "status": 200, "body": {"value": records}} for part in seen.body["requests"]]})
    graph = cloud.site().graph
    assert graph.service_records("contoso.com") == {
        "mx_host": "contoso-com.d-v1.mx.microsoft.", "mx_preference": 0,
        "autodiscover_host": "autodiscover.outlook.com.", "spf": "v=spf1 include:spf.protection.outlook.com -all"}
    graph.service_records_of(["contoso.com", "contoso.net"])
    assert [part["url"] for part in cloud.seen[1].body["requests"]] == [
        "/domains/contoso.net/serviceConfigurationRecords"]


def test_only_a_product_with_a_mailbox_licenses_a_mailbox(cloud: Cloud) -> None:
    skus = [{"skuId": "s1", "skuPartNumber": "SPE_E3", "capabilityStatus": "Enabled", "appliesTo": "User",
             "prepaidUnits": {"enabled": 5, "warning": 1}, "consumedUnits": 4,
             "servicePlans": [{"servicePlanName": "EXCHANGE_S_ENTERPRISE"}]},
            {"skuId": "s2", "skuPartNumber": "FLOW_FREE", "capabilityStatus": "Enabled", "appliesTo": "User",
             "prepaidUnits": {"enabled": 9}, "servicePlans": [{"servicePlanName": "EXCHANGE_S_FOUNDATION"}]},
            {"skuId": "s3", "skuPartNumber": "OLD", "capabilityStatus": "Suspended", "appliesTo": "User"}]
    users = [_user("anna", assignedLicenses=[{"skuId": "s1"}]), _user("ben", assignedLicenses=[{"skuId": "s2"}])]
    cloud.answer = lambda seen: Reply(200, {"value": skus if "subscribedSkus" in seen.path else users})
    graph = cloud.site().graph
    assert graph.skus()["SPE_E3"].free == 2 and "OLD" not in graph.skus()
    licensed = graph.licensed_addresses()
    assert "anna@contoso.com" in licensed and "ben@contoso.com" not in licensed
