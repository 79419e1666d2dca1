"""The cloud modules of a cutover, against the rehearsal organisation: sync off, security group first, no CSV."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.contract import Handover, Rejected, Unreachable, Waiting
from engine.modules.cloud_recipient import CloudRecipient
from engine.modules.directory_sync import DirectorySync
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.security_group import SecurityGroup
from engine.modules.tenant_domain import TenantDomain
from tests.modules.lab_cloud import DOMAIN, PEOPLE, Lab, running


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running("cutover", tmp_path_factory.mktemp("cutover")) as found:
        yield found


def test_a_cutover_from_the_domain_to_a_stopped_and_removed_batch(lab: Lab) -> None:
    off = DirectorySync(enabled=False)
    if off.difference(lab.read(off)) is not None:
        handed = lab.act(off)
        assert isinstance(handed, Handover) and lab.control("/desk", {"script": handed.text})["ok"]
        lab.settled(off, within=72 * 3600)

    domain = TenantDomain(domain=DOMAIN, state="present")
    lab.act(domain)
    state = lab.settled(domain, within=3600)
    assert state is not None
    lab.publish(DOMAIN, str(state["verification_txt"]))
    lab.pass_time(900)
    lab.act(TenantDomain(domain=DOMAIN))
    lab.settled(TenantDomain(domain=DOMAIN), within=3600)
    lab.pass_time(6 * 3600)  # until Exchange accepts the domain

    group = SecurityGroup(address=f"staff@{DOMAIN}", name="Staff")
    lab.act(group)
    lab.settled(group, within=3600)

    endpoint = MigrationEndpoint(name="contoso-endpoint", email_address=f"anna@{DOMAIN}", account="CORP\\migadmin",
                                 autodiscover=False, exchange_server="ex01.corp.contoso.com",
                                 rpc_proxy_server="mail.contoso.com")
    handed = lab.act(endpoint)
    assert isinstance(handed, Handover) and "MaxConcurrent" not in handed.text
    typed = lab.control("/desk", {"script": handed.text, "user": "CORP\\migadmin",
                                  "password": lab.ready["connections"]["directory"]["password"]})
    assert typed["ok"], typed
    lab.settled(endpoint, within=3600)

    created = MigrationBatch(name="Cutover", endpoint="contoso-endpoint", state="created")
    started = MigrationBatch(name="Cutover", endpoint="contoso-endpoint", state="started")
    absent = MigrationBatch(name="Cutover", endpoint="contoso-endpoint", state="absent")
    lab.act(created)
    lab.settled(created, within=3600, step=60)
    with pytest.raises(Rejected):  # only one cutover batch may exist (C-28)
        lab.act(MigrationBatch(name="Another", endpoint="contoso-endpoint", state="created"))
    lab.act(started)
    lab.settled(started, within=3600, step=60)

    # A batch at work is stopped first, and removed when it has stopped.
    if lab.site.exchange_online.migration_batches()["Cutover"].status in ("Starting", "Syncing"):
        with pytest.raises(Unreachable) as stopping:
            lab.act(absent)
        assert stopping.value.retry_after == 60
        lab.pass_time(3600)
        assert lab.read(started) is not None
        lab.act(started)

    for each in PEOPLE:
        lab.settled(MailboxSync(address=f"{each}@{DOMAIN}", batch="Cutover"), within=3 * 24 * 3600)
        lab.settled(CloudRecipient(address=f"{each}@{DOMAIN}", at_least="mailbox"), within=3600)
    assert group.difference(lab.read(group)) is None  # the copy filled the group and left its type

    lab.act(absent)
    state = lab.read(absent)
    if state is not None:
        diff = absent.difference(state)
        assert diff is not None and isinstance(absent.outlook(state, diff), Waiting)
    assert lab.settled(absent, within=3600, step=60) is None
