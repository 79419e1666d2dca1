"""Out-of-office texts: left behind by the copy, brought along by us, and never written down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.contract import Handover, Rejected
from engine.modules.cloud_recipient import CloudRecipient
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.out_of_office import OutOfOffice
from tests.modules.lab_cloud import DOMAIN, PEOPLE, Lab
from tests.modules.lab_source import own, source

ANNA, BEN, CARLA = (f"{each}@{DOMAIN}" for each in PEOPLE)
TEXT = "<p>Ich bin bis 15. November nicht im B\u00fcro &amp; lese keine Post.</p>"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Exchange 2010; Anna is out of office; the copies are complete."""
    mailboxes = [{"address": each, "name": each.partition("@")[0].title(), "server": "ex01.corp.contoso.com",
                  "database": "DB1", "items": 50} for each in (ANNA, BEN, CARLA)]
    mailboxes[0]["oof"] = TEXT
    with source(tmp_path_factory.mktemp("oof"), "2010", "cutover", rows={"mailboxes": mailboxes}) as found:
        own(found, DOMAIN)
        endpoint = MigrationEndpoint(name="contoso", email_address=ANNA, account="CORP\\migadmin")
        handed = found.act(endpoint)
        assert isinstance(handed, Handover)
        found.control("/desk", {"script": handed.text, "user": "CORP\\migadmin",
                                "password": found.ready["connections"]["directory"]["password"]})
        found.settled(endpoint, within=3600)
        for state in ("created", "started"):
            batch = MigrationBatch(name="Cutover", endpoint="contoso", state=state)
            found.act(batch)
            found.settled(batch, within=3600, step=60)
        for each in (ANNA, BEN):
            found.settled(MailboxSync(address=each, batch="Cutover"), within=3 * 86400)
            found.settled(CloudRecipient(address=each, at_least="mailbox"), within=3600)
        yield found


@pytest.mark.requirement("S-40")
def test_a_text_that_the_copy_left_behind_comes_along_and_is_not_recorded(lab: Lab) -> None:
    module = OutOfOffice(address=ANNA)
    cloud = lab.site.exchange_online
    [left] = cloud.invoke("Get-MailboxAutoReplyConfiguration", Identity=ANNA)
    assert (left["AutoReplyState"], left["InternalMessage"]) == ("Enabled", "")  # the flag, and no text: silent
    before = lab.read(module)
    assert before == {"active": True, "until": None, "came_along": False}
    lab.act(module)
    after = lab.settled(module)
    [there] = cloud.invoke("Get-MailboxAutoReplyConfiguration", Identity=ANNA)
    assert (there["InternalMessage"], there["ExternalMessage"]) == (TEXT, TEXT)
    assert "nicht im" not in str(before) + str(after)


@pytest.mark.requirement("S-40")
def test_nobody_else_is_touched_and_a_mailbox_that_is_gone_is_said(lab: Lab) -> None:
    assert lab.read(OutOfOffice(address=BEN)) == {"active": False, "came_along": True}
    with pytest.raises(Rejected, match="has no mailbox associated"):
        OutOfOffice(address=f"nobody@{DOMAIN}").read(lab.site)
