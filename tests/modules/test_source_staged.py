"""The modules on the source's side through a staged migration, in order, against the rehearsal organisation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.contract import Diff, Failing, Handover, InDoubt, Rejected, State, Unknown, Waiting
from engine.modules.autodiscover import Autodiscover
from engine.modules.cloud_recipient import CloudRecipient
from engine.modules.delivery_probe import DeliveryProbe
from engine.modules.dns_record import DnsRecord
from engine.modules.forwarding import Forwarding
from engine.modules.item_counts import ItemCounts
from engine.modules.mail import Mail
from engine.modules.mail_user_conversion import MailUserConversion
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.mx_switch import MxSwitch
from engine.modules.mx_ttl import MxTtl
from engine.modules.sender_policy import SenderPolicy
from engine.modules.tenant_domain import TenantDomain
from tests.modules.lab_cloud import DOMAIN, Lab, running

ANNA, BEN, CARLA = (f"{each}@{DOMAIN}" for each in ("anna", "ben", "carla"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running("staged", tmp_path_factory.mktemp("staged")) as found:
        yield found


def effects(lab: Lab) -> dict[str, int]:
    found: dict[str, int] = lab.control("/counters")["effects"]
    return found


@pytest.mark.requirement("B-17")
def test_1_before_verification_the_tenant_demands_nothing(lab: Lab) -> None:
    switch = MxSwitch(domain=DOMAIN, zone=DOMAIN)
    state = lab.read(switch)
    assert state is not None and state["service_values"] is None
    diff = switch.difference(state)
    assert diff is not None and isinstance(switch.outlook(state, diff), Waiting)
    with pytest.raises(Rejected, match="names no record"):
        switch.apply(lab.site, diff)
    assert not any(name.startswith("dns/") for name in effects(lab))


@pytest.mark.requirement("B-14", "B-39", "B-41", "B-49")
def test_2_the_proof_of_ownership_stands_beside_what_was_there(lab: Lab) -> None:
    lab.act(TenantDomain(domain=DOMAIN, state="present"))
    domain = lab.settled(TenantDomain(domain=DOMAIN, state="present"), within=3600)
    assert domain is not None
    record = DnsRecord(zone=DOMAIN, type="TXT", includes=(str(domain["verification_txt"]),))
    before = lab.read(record)
    assert before is not None and "v=spf1 mx -all" in _values(before)
    lab.act(record)
    after = lab.settled(record)
    assert after is not None
    assert set(_values(after)) == {*_values(before), str(domain["verification_txt"])}
    assert after["ttl"] == before["ttl"]
    second = DnsRecord(zone=DOMAIN, type="TXT", includes=("v=spf1 include:x.example -all",))
    with pytest.raises(Rejected, match="two SPF policies"):
        lab.act(second)
    before_the_mail = DnsRecord(zone=DOMAIN, type="MX", includes=("5 ms1.msv1.invalid.",))
    with pytest.raises(Rejected, match="would come before 10 mail"):
        lab.act(before_the_mail)
    assert str(domain["verification_mx"]).startswith("32767 ")  # the alternative to the TXT, behind every real host
    lab.pass_time(900)
    lab.act(TenantDomain(domain=DOMAIN))
    lab.settled(TenantDomain(domain=DOMAIN), within=3600)


@pytest.mark.requirement("B-36", "B-39", "B-41", "B-49")
def test_3_the_ttl_is_lowered_and_the_values_stay(lab: Lab) -> None:
    ttl = MxTtl(domain=DOMAIN, zone=DOMAIN, at_most=3600)
    before = lab.read(ttl)
    assert before is not None and before["ttl"] == 86400
    lab.act(ttl)
    after = lab.settled(ttl)
    assert after is not None and (after["ttl"], after["values"]) == (3600, before["values"])
    gone = DnsRecord(zone=DOMAIN, name="nowhere", type="MX", state="absent")
    assert gone.difference(lab.read(gone)) is None
    assert effects(lab)[f"dns/{DOMAIN}/@/MX replace"] == 1


@pytest.mark.requirement("B-41")
def test_3_microsoft_may_send_beside_who_sends_already(lab: Lab) -> None:
    policy = SenderPolicy(domain=DOMAIN, zone=DOMAIN)
    before = lab.read(policy)
    assert before is not None and before["missing"] == ("include:spf.protection.outlook.com",)
    lab.act(policy)
    after = lab.settled(policy)
    assert after is not None and after["ttl"] == before["ttl"]
    assert set(_values(after)) == {*_values(before), "v=spf1 mx include:spf.protection.outlook.com -all"} - {
        "v=spf1 mx -all"}


def test_4_counts_agree_when_the_copy_is_complete(lab: Lab) -> None:
    connections = lab.ready["connections"]
    endpoint = MigrationEndpoint(name="contoso-endpoint", email_address=ANNA, account="CORP\\migadmin",
                                 autodiscover=False, exchange_server="ex01.corp.contoso.com",
                                 rpc_proxy_server="mail.contoso.com")
    handed = lab.act(endpoint)
    assert isinstance(handed, Handover)
    lab.control("/desk", {"script": handed.text, "user": "CORP\\migadmin",
                          "password": connections["directory"]["password"]})
    for address in (ANNA, BEN, CARLA):
        lab.settled(CloudRecipient(address=address), within=86400)
    csv = str(Path(str(lab.site.settings["exports"])).parent / "Batch01.csv")
    batch: Any = {"name": "Batch01", "endpoint": "contoso-endpoint", "csv": csv}
    lab.act(MigrationBatch(**batch, state="created"))
    lab.settled(MigrationBatch(**batch, state="created"), within=7200)
    lab.act(MigrationBatch(**batch, state="started"))
    for address in (ANNA, BEN, CARLA):
        lab.settled(MailboxSync(address=address, batch="Batch01"), within=30 * 86400)
        state = lab.settled(ItemCounts(address=address, tolerance_percent=5))
        assert state is not None and state["source_items"] == 50 and state["source_read_at"]

    strict = ItemCounts(address="nobody@contoso.com")
    found = ItemCounts.read_many(lab.site, [strict, ItemCounts(address=ANNA)])
    assert isinstance(found[strict.key()], Unknown)
    assert isinstance(found[f"counts/{ANNA}"], dict)


def test_5_forwarding_is_a_compare_and_set(lab: Lab) -> None:
    routing = _cloud(lab, ANNA)["routing_address"]
    there = Forwarding(address=ANNA, target_address=str(routing))
    assert there.difference(lab.read(there)) is None  # the service has set it
    elsewhere = Forwarding(address=BEN, target_address=f"elsewhere@{DOMAIN}")
    stale = lab.read(elsewhere)
    diff = elsewhere.difference(stale)
    assert diff is not None
    elsewhere.apply(lab.site, diff)
    lab.settled(elsewhere)
    with pytest.raises(Rejected, match="changed meanwhile"):
        Forwarding(address=BEN, target_address=f"third@{DOMAIN}").apply(lab.site, diff)
    back = Forwarding(address=BEN, target_address=str(_cloud(lab, BEN)["routing_address"]))
    lab.act(back)
    lab.settled(back)
    nobody = Forwarding(address="nobody@contoso.com", target_address="x@contoso.onmicrosoft.com")
    assert lab.read(nobody) is None
    assert isinstance(nobody.outlook(None, Diff("create", (), None)), Failing)


def test_6_a_mailbox_becomes_a_mail_user_and_comes_back_whole(lab: Lab) -> None:
    conversion = _conversion(lab, ANNA)
    before = lab.read(conversion)
    assert before is not None and before["recipient"] == "mailbox" and before["replies_work"] is False
    assert "homeMDB" in before["saved"]  # type: ignore[operator]
    lab.act(conversion)
    after = lab.settled(conversion)
    assert after is not None
    assert (after["mail"], after["legacy_dn"]) == (before["mail"], before["legacy_dn"])
    assert set(before["proxies"]) < set(after["proxies"])  # type: ignore[arg-type]
    raw = lab.site.directory.saved([ANNA])[ANNA]
    assert isinstance(raw, tuple)
    assert not {"homeMDB", "homeMTA", "msExchHomeServerName", "msExchPoliciesIncluded"} & set(raw[1])
    assert sum(each.startswith(b"SMTP:") for each in raw[1]["proxyAddresses"]) == 1
    assert raw[1]["msExchRecipientTypeDetails"] == (b"128",)
    assert effects(lab)[f"conversion/{ANNA} convert"] == 1
    assert not lab.site.directory.mailboxes()[ANNA].is_mailbox

    # A conversion that was read before somebody moved the mailbox changes nothing at all.
    other = _conversion(lab, BEN)
    diff = other.difference(lab.read(other))
    assert diff is not None and diff.before is not None
    stale = {**diff.before, "saved": {**diff.before["saved"], "homeMDB": ("Q049b3RoZXI=",)}}  # type: ignore[dict-item]
    with pytest.raises(Rejected, match="changed meanwhile"):
        other.apply(lab.site, Diff("change", (), stale))
    assert lab.read(other) == diff.before

    back = conversion.restore_diff(before, after)
    assert back is not None
    conversion.restore(lab.site, back, before)
    again = lab.read(conversion)
    assert again is not None
    assert {**again, "usn": 0} == {**before, "usn": 0}
    lab.act(conversion)
    lab.settled(conversion)


def test_7_a_probe_through_the_source_proves_the_forwarding(lab: Lab) -> None:
    probe = DeliveryProbe(id="forwarding", to=ANNA, through="source")
    assert lab.read(probe) is None
    lab.act(probe)
    state = lab.settled(probe, within=1800, step=60)
    assert state is not None and state["delivered_at"]
    with pytest.raises(AssertionError, match="nothing to do"):
        lab.act(probe)


@pytest.mark.requirement("B-39", "B-41")
def test_8_mx_and_autodiscover_go_to_the_cloud(lab: Lab) -> None:
    switch = MxSwitch(domain=DOMAIN, zone=DOMAIN)
    before = lab.read(switch)
    assert before is not None
    lab.act(switch)
    state = lab.settled(switch)
    assert state is not None and state["values"] == state["service_values"] and state["ttl"] == 3600
    with pytest.raises(Rejected, match="changed meanwhile"):
        switch.apply(lab.site, Diff("change", (), before))

    discover = Autodiscover(domain=DOMAIN, zone=DOMAIN)
    old = lab.read(discover)
    assert old is not None and old["values"] == () and old["others"] == ("autodiscover 3600 A 192.0.2.10",)
    lab.act(discover)
    found = lab.settled(discover)
    assert found is not None and (found["values"], found["others"]) == (("autodiscover.outlook.com.",), ())
    raised = MxTtl(domain=DOMAIN, zone=DOMAIN, seconds=86400)
    lab.act(raised)
    lab.settled(raised)


def test_9_a_letter_is_found_again_by_its_mark(lab: Lab) -> None:
    letter = Mail(id="new-profile", to=BEN, subject="Ihr Postfach ist umgezogen", text="Guten Tag\n")
    assert letter.read(lab.site) is None
    lab.control("/fault", {"kind": "drop", "match": "smtp DATA", "times": 1})
    with pytest.raises(InDoubt):
        letter.apply(lab.site, Diff("send", (), None))
    lab.pass_time(1800)
    found = letter.read(lab.site)
    assert found is not None and found["sent"] is True
    lab.site.forget()
    sent = Mail(id="second", to=BEN, subject="x", text="y").apply(lab.site, Diff("send", (), None))
    assert sent["sent"] is True and sent["sent_at"] == lab.clock.now()

    probe = DeliveryProbe(id="routing", to=BEN, through="mx")
    lab.act(probe)
    lab.settled(probe, within=1800, step=60)


def _values(state: State) -> tuple[str, ...]:
    values = state["values"]
    assert isinstance(values, tuple)
    return tuple(map(str, values))


def _cloud(lab: Lab, address: str) -> State:
    state = lab.settled(CloudRecipient(address=address, at_least="mailbox"), within=86400)
    assert state is not None
    return state


def _conversion(lab: Lab, address: str) -> MailUserConversion:
    cloud = _cloud(lab, address)
    return MailUserConversion(address=address, routing_address=str(cloud["routing_address"]),
                              cloud_legacy_dn=str(cloud["legacy_dn"]), cloud_guid=str(cloud["guid"]))
