"""Each module's way back against the rehearsal organisation: done, taken back, and it reads as it did before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.contract import Handover, State
from engine.modules.autodiscover import Autodiscover
from engine.modules.base import Module
from engine.modules.cloud_recipient import CloudRecipient
from engine.modules.dns_record import DnsRecord
from engine.modules.forwarding import Forwarding
from engine.modules.licence import Licence
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.mx_switch import MxSwitch
from engine.modules.mx_ttl import MxTtl
from engine.modules.security_group import SecurityGroup
from engine.modules.sender_policy import SenderPolicy
from engine.modules.tenant_domain import TenantDomain
from tests.modules.lab_cloud import DOMAIN, Lab, running

ANNA = f"anna@{DOMAIN}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running("staged", tmp_path_factory.mktemp("back")) as found:
        yield found


@pytest.fixture(scope="module")
def cutover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running("cutover", tmp_path_factory.mktemp("back-cutover")) as found:
        verified(found)
        yield found


def verified(lab: Lab) -> None:
    lab.act(TenantDomain(domain=DOMAIN, state="present"))
    domain = lab.settled(TenantDomain(domain=DOMAIN, state="present"), within=3600)
    assert domain is not None
    lab.publish(DOMAIN, str(domain["verification_txt"]))
    lab.pass_time(900)
    lab.act(TenantDomain(domain=DOMAIN))
    lab.settled(TenantDomain(domain=DOMAIN), within=3600)
    lab.pass_time(3600)


def back(lab: Lab, module: Module, before: State | None, *, within: float = 0.0) -> None:
    """Take the act back, and see that it reads as before; the same once more does nothing."""
    state = lab.read(module)
    diff = module.restore_diff(before, state)
    assert diff is not None, "nothing to take back"
    assert module.final(lab.site, before, state) == ""
    assert module.changed_since(before, state, state) == ()
    assert module.restore(lab.site, diff, before) is None
    while (left := module.restore_diff(before, lab.read(module))) is not None:
        assert within > 0, left
        within -= 300
        lab.pass_time(300)


def there_and_back(lab: Lab, module: Module, *, within: float = 0.0) -> None:
    before = lab.read(module)
    lab.act(module)
    lab.settled(module, within=within)
    back(lab, module, before, within=within)
    assert lab.read(module) == before


@pytest.mark.requirement("B-36", "B-39")
def test_the_ttl(lab: Lab) -> None:
    lowered = MxTtl(domain=DOMAIN, zone=DOMAIN, at_most=600)
    before = lab.read(lowered)
    there_and_back(lab, lowered)
    lab.act(lowered)
    assert before is not None and before["ttl"] == 86400
    raised = MxTtl(domain=DOMAIN, zone=DOMAIN, seconds=86400)  # after the switch, to what the register has kept
    lab.act(raised)
    assert lab.settled(raised) == before


@pytest.mark.requirement("B-14")
def test_of_a_shared_set_only_our_value_goes(lab: Lab) -> None:
    record = DnsRecord(zone=DOMAIN, type="TXT", includes=("MS=ms12345678",))
    before = lab.read(record)
    lab.act(record)
    lab.settled(record)
    beside = DnsRecord(zone=DOMAIN, type="TXT", includes=("vendor=1",))
    lab.act(beside)
    back(lab, record, before)
    after = lab.read(record)
    assert before is not None and after is not None
    assert set(after["values"]) == {*before["values"], "vendor=1"}  # type: ignore[misc]
    alone = DnsRecord(zone=DOMAIN, name="_proof", type="TXT", includes=("x",))
    there_and_back(lab, alone)


@pytest.mark.requirement("B-13", "B-16")
def test_a_domain_while_nobody_uses_it(lab: Lab) -> None:
    known, proven = TenantDomain(domain=DOMAIN, state="present"), TenantDomain(domain=DOMAIN)
    lab.act(known)
    first = lab.settled(known, within=3600)
    lab.publish(DOMAIN, str((first or {})["verification_txt"]))
    lab.pass_time(900)
    lab.act(proven)
    lab.settled(proven, within=3600)
    if proven.final(lab.site, first, lab.read(proven)):
        pytest.skip("the directory has synchronised users into it")
    back(lab, proven, first, within=3600)
    back(lab, known, None, within=3600)
    assert lab.read(known) is None


@pytest.mark.requirement("B-11")
def test_a_domain_that_is_used_stays(cutover: Lab) -> None:
    group = SecurityGroup(address=f"staff@{DOMAIN}", name="Staff")
    there_and_back(cutover, group, within=3600)
    assert cutover.site.exchange_online.groups() == {}


@pytest.mark.requirement("C-11")
def test_a_group_with_members_stays(cutover: Lab) -> None:
    group = SecurityGroup(address=f"team@{DOMAIN}", name="Team")
    cutover.site.exchange_online.invoke("New-DistributionGroup", Name="Inner", Type="Security",
                                        PrimarySmtpAddress=f"inner@{DOMAIN}")
    cutover.site.exchange_online.invoke("New-DistributionGroup", Name="Team", Type="Security",
                                        PrimarySmtpAddress=f"team@{DOMAIN}", Members=[f"inner@{DOMAIN}"])
    state = cutover.settled(group, within=3600)
    assert group.final(cutover.site, None, state) == "the group has 1 member(s) by now"


@pytest.mark.requirement("B-41", "B-49", "C-31")
def test_mx_and_autodiscover(cutover: Lab) -> None:
    there_and_back(cutover, MxSwitch(domain=DOMAIN, zone=DOMAIN))
    found = Autodiscover(domain=DOMAIN, zone=DOMAIN)
    before = cutover.read(found)
    assert before is not None and before["others"] == ("autodiscover 3600 A 192.0.2.10",)
    there_and_back(cutover, found)
    own = DnsRecord(zone=DOMAIN, name="mail2", type="A", values=("192.0.2.9",), ttl=60)
    there_and_back(cutover, own)
    cutover.act(own)
    there_and_back(cutover, DnsRecord(zone=DOMAIN, name="mail2", type="A", state="absent"))


@pytest.mark.requirement("B-41")
def test_a_sender_policy_loses_our_terms_only(cutover: Lab) -> None:
    policy = SenderPolicy(domain=DOMAIN, zone=DOMAIN)
    before = cutover.read(policy)
    assert before is not None and before["missing"], before
    cutover.act(policy)
    extended = cutover.settled(policy)
    cutover.act(DnsRecord(zone=DOMAIN, type="TXT", includes=("vendor=2",)))
    with_vendor = cutover.read(policy)
    diff = policy.restore_diff(before, with_vendor)
    assert diff is not None and [change.field for change in diff.changes] == ["values"]
    assert policy.changed_since(before, extended, with_vendor) == ()
    back(cutover, policy, before)
    after = cutover.read(policy)
    assert after is not None and set(after["values"]) == {*before["values"], "vendor=2"}  # type: ignore[misc]


def endpoint(lab: Lab) -> MigrationEndpoint:
    made = MigrationEndpoint(name="contoso-endpoint", email_address=ANNA, account="CORP\\migadmin",
                             autodiscover=False, exchange_server="ex01.corp.contoso.com",
                             rpc_proxy_server="mail.contoso.com")
    if lab.read(made) is None:
        handed = lab.act(made)
        assert isinstance(handed, Handover)
        lab.control("/desk", {"script": handed.text, "user": "CORP\\migadmin",
                              "password": lab.ready["connections"]["directory"]["password"]})
    return made


@pytest.mark.requirement("B-18", "B-25", "B-29", "B-30")
def test_endpoint_and_batch_while_nothing_is_copied(cutover: Lab) -> None:
    made = endpoint(cutover)
    wider = MigrationEndpoint(**{**vars(made), "max_concurrent_migrations": 70})
    there_and_back(cutover, wider, within=3600)
    parameters: Any = {"name": "Everybody", "endpoint": made.name}
    created, started = (MigrationBatch(**parameters, state=state) for state in ("created", "started"))
    cutover.act(created)
    before = cutover.settled(created, within=3600)
    assert made.final(cutover.site, None, cutover.read(made)) == "batch Everybody uses the endpoint"
    cutover.act(started)
    cutover.settled(started)
    back(cutover, started, before, within=3600)
    back(cutover, created, None, within=7200)
    back(cutover, made, None, within=3600)
    assert cutover.read(made) is None


@pytest.mark.requirement("B-29", "B-46", "B-47", "S-26", "S-30")
def test_what_was_copied_and_licensed(lab: Lab) -> None:
    if (lab.read(TenantDomain(domain=DOMAIN)) or {}).get("state") != "verified":
        verified(lab)
    made = endpoint(lab)
    csv = str(Path(str(lab.site.settings["exports"])).parent / "Batch01.csv")
    batch: Any = {"name": "Batch01", "endpoint": made.name, "csv": csv}
    lab.settled(CloudRecipient(address=ANNA), within=86400)
    lab.act(MigrationBatch(**batch, state="created"))
    lab.settled(MigrationBatch(**batch, state="created"), within=7200)
    lab.act(MigrationBatch(**batch, state="started"))
    lab.settled(MailboxSync(address=ANNA, batch="Batch01"), within=30 * 86400)
    created = MigrationBatch(**batch, state="created")
    assert "copied" in created.final(lab.site, None, lab.read(created))
    absent = MigrationBatch(**batch, state="absent")
    assert "does not come back" in absent.final(lab.site, lab.read(absent), None)

    licence = Licence(address=ANNA, sku="EXCHANGESTANDARD", usage_location="DE")
    before = lab.read(licence)
    lab.act(licence)
    lab.settled(licence, within=3600)
    back(lab, licence, before, within=3600)
    after = lab.read(licence)
    assert after is not None and after["assigned"] is False
    assert any("usage location stays" in each for each in licence.loses(before, after))


@pytest.mark.requirement("S-26", "S-30")
def test_forwarding(lab: Lab) -> None:
    lab.settled(CloudRecipient(address=ANNA, at_least="mailbox"), within=30 * 86400)
    there_and_back(lab, Forwarding(address=ANNA, target_address="elsewhere@fabrikam.com"))
    found = lab.read(Forwarding(address=ANNA, target_address="elsewhere@fabrikam.com"))
    assert found is not None and found["target_address"] == "SMTP:anna@contoso.onmicrosoft.com"
