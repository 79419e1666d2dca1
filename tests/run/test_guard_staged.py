"""What a staged batch's end demands, what waives what, and that a batch with a converted mailbox is not restarted.

The organisation is the lab's, over real sockets; what only the journal knows is told as data.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from engine import app
from engine.contract import Change, Diff
from engine.modules.base import Module
from engine.modules.dns_record import DnsRecord
from engine.modules.mail_user_conversion import MailUserConversion
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch
from engine.run import guards
from engine.run.guards import Act, Guards, names, names_back
from engine.world import World
from tests.run.guard_facts import Told
from tests.whole.stage import Stage, staged

DMITRI, INFO, ROOM = "dmitri@contoso.com", "info@contoso.com", "room1@contoso.com"
COUNTED = "Source and cloud hold the same number of items"
NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Batch02 is copied, the counts of one mailbox differ and are waived, and nothing of it is converted."""
    by_ldap = {"    tls: ldaps\n": "    tls: ldaps\n    conversion: ldap\n"}
    with staged(tmp_path_factory.mktemp("end"), settings=by_ldap, batch="Batch02") as made:
        made.lab.post("/fault", kind="skipped", address=INFO, count=500)
        made.until(lambda: made.counts(COUNTED).get("waiting", 0) >= 1)
        code, seen = made.command("waive", COUNTED, INFO, "--reason", "old journal items, nobody needs them")
        assert code == 0, seen
        made.until(lambda: made.counts("Go or no-go for the conversion").get("asking", 0) >= 1)
        yield made


def judged(stage: Stage, facts: Told, kind: str, row: str, module: Module, diff: Diff) -> guards.Verdict:
    world = World()
    migration = app.load(app.place(stage.playbook, stage.inventory, stage.folder / "state", world), {}, world)
    template = next(each for each in migration.program.templates if each.kind == kind)
    try:
        return Guards(migration.program, migration.site, facts).judge([Act(template, row, module, diff)], NOW)[0][0]
    finally:
        migration.site.close()


def removal(stage: Stage, facts: Told) -> guards.Verdict:
    batch = MigrationBatch(name="Batch02", endpoint="contoso-endpoint", state="absent")
    return judged(stage, facts, "batches", "Batch02", batch, Diff("delete", (), {"status": "Synced"}))


@pytest.mark.requirement("S-34")
def test_1_before_the_conversion_no_later_sync_helps(stage: Stage) -> None:
    found = removal(stage, Told())
    assert found.passed is False
    assert found.reason == (f"{DMITRI} is not converted yet (S-34 b); a later sync is not waited for, a staged batch "
                            "has none")


@pytest.mark.requirement("S-34")
def test_2_after_mx_has_moved_forwarding_and_equal_counts_do(stage: Stage) -> None:
    rows = (DMITRI, INFO, ROOM)
    unconverted = frozenset(("mail_user_conversion", each) for each in rows)
    early = removal(stage, Told(let_off=unconverted, counted=10_000))
    assert early.passed is False and "S-34 b" in early.reason, "before MX only (b)"
    assert removal(stage, Told(let_off=unconverted, counted=10_000, moved=NOW)).passed is True
    newer = removal(stage, Told(let_off=unconverted, counted=3, moved=NOW))
    assert newer.passed is False and "may hold newer items: 1291 now, 3 were compared (S-34 c)" in newer.reason
    assert removal(stage, Told(let_off=unconverted, moved=NOW)).passed is False, "never compared is no yes"


@pytest.mark.requirement("S-34")
def test_3_a_letter_that_is_waived_takes_nobody_out_of_the_count(stage: Stage) -> None:
    everything_else = Told(let_off=frozenset({("mail", DMITRI), ("licence", DMITRI)}))
    assert removal(stage, everything_else).passed is False
    not_moving = Told(let_off=frozenset(("mailbox_sync", each) for each in (DMITRI, INFO, ROOM)))
    assert removal(stage, not_moving).passed is True


@pytest.mark.requirement("S-34")
def test_4_a_batch_with_a_converted_mailbox_is_never_restarted(stage: Stage) -> None:
    start = MigrationBatch(name="Batch02", endpoint="contoso-endpoint", state="started")
    diff = Diff("change", (Change("state", "created", "started"),), {"status": "Stopped"})
    sync, failed = MailboxSync(address=INFO, batch="Batch02"), Diff("change", (), {"status": "Failed"})
    assert judged(stage, Told(), "batches", "Batch02", start, diff).passed is True
    stage.person.answer()
    stage.until(lambda: stage.counts("The source mailbox is a mail user that points to the cloud").get("done", 0) >= 1)
    for found in (judged(stage, Told(), "batches", "Batch02", start, diff),
                  judged(stage, Told(), "mailboxes", INFO, sync, failed)):
        assert found.guard == "batch_restarted" and found.passed is False
        assert "of the same batch is converted already" in found.reason


def test_a_first_start_is_no_restart() -> None:
    start = MigrationBatch(name="B", endpoint="e", state="started")
    for status in (None, "Created"):
        assert names(start, Diff("change", (Change("state", "created", "started"),), {"status": status})) == ()


@pytest.mark.requirement("B-35", "S-27")
def test_5_a_mailbox_whose_counts_are_waived_is_converted_with_the_others(stage: Stage) -> None:
    stage.until(lambda: stage.counts("The source mailbox is a mail user that points to the cloud").get("done", 0) >= 3)


@pytest.mark.requirement("B-41", "S-35")
def test_6_a_staged_domain_moves_when_everybody_forwards(stage: Stage) -> None:
    stage.until(lambda: stage.counts("Go or no-go").get("asking", 0) >= 1)
    record = DnsRecord(zone="contoso.com", type="MX", values=("0 contoso-com.mail.protection.outlook.com.",))
    diff = Diff("change", (Change("values", (), record.values),), {"values": ("10 mail.contoso.com.",)})

    def switch(facts: Told) -> guards.Verdict:
        return judged(stage, facts, "domains", "contoso.com", record, diff)

    assert switch(Told()).passed is True, "when anybody was copied last is no matter: the counts were compared"
    unproven = frozenset({("delivery_probe", INFO)})
    assert switch(Told(missing=unproven)).reason == (
        f"1 mailbox(es) of contoso.com are not ready: {INFO}: forwarding not proven")
    for waived in ("delivery_probe", "mail_user_conversion", "mailbox_sync"):
        assert switch(Told(missing=unproven, let_off=frozenset({(waived, INFO)}))).passed is True
    assert removal(stage, Told()).passed is True
    assert removal(stage, Told(missing=unproven)).reason == f"forwarding of {INFO} is not proven yet (S-34 b)"
    for waived in ("mail_user_conversion", "mailbox_sync"):
        assert removal(stage, Told(missing=unproven, let_off=frozenset({(waived, INFO)}))).passed is True


@pytest.mark.requirement("B-49", "C-31")
@pytest.mark.parametrize(("name", "kind", "value"), [
    ("autodiscover", "CNAME", "autodiscover.outlook.com."), ("autodiscover", "A", "192.0.2.1"),
    ("autodiscover", "AAAA", "2001:db8::1"), ("_autodiscover._tcp", "SRV", "0 0 443 mail.a.example."),
    ("autodiscover.inner", "A", "192.0.2.1"), ("_autodiscover._tcp.inner", "SRV", "0 0 443 mail.a.example.")])
def test_whatever_leads_clients_is_guarded_also_when_it_is_made(name: str, kind: str, value: str) -> None:
    record = DnsRecord(zone="a.example", name=name, type=kind, values=(value,))  # type: ignore[arg-type]
    made = record.difference(None)
    assert made is not None and names(record, made) == ("autodiscover_moved",)
    assert names_back(record, made) == (), "the way back is open"
    other = DnsRecord(zone="a.example", name="autodiscovery", type="A", values=("192.0.2.1",))
    beside = other.difference(None)
    assert beside is not None and names(other, beside) == ()


def test_the_way_back_of_a_conversion_has_a_guard_of_its_own() -> None:
    module = MailUserConversion(address="a@b.example", routing_address="a@b.onmicrosoft.com", cloud_legacy_dn="/o=x",
                                cloud_guid="0f8fad5b-d9cb-469f-a165-70867728950e")
    assert names_back(module, Diff("change", (), {})) == ("mailbox_reconnected",)
