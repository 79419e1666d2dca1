"""Each condition of the guards' rules by itself: everything is as it must be but for one thing, and that one is named.

A cutover stands before its switch of MX in the lab, over real sockets; what only the journal knows is told as data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from engine import app
from engine.contract import Change, Diff
from engine.modules.base import Module
from engine.modules.dns_record import DnsRecord
from engine.modules.mail_user_conversion import MailUserConversion
from engine.modules.migration_batch import MigrationBatch
from engine.run.guards import Act, Guards, Verdict
from engine.world import World
from tests.run.guard_facts import Told
from tests.whole.stage import Stage, staged

DOMAIN, BATCH, ANNA, INFO = "contoso.com", "Cutover", "anna@contoso.com", "info@contoso.com"
CLARA = "clara@contoso.com"
TINY = timedelta(microseconds=1)


@dataclass
class Ready:
    """The migration that stands before its switch. `synced`: when `last`, whose copy is the oldest, was copied."""

    stage: Stage
    now: datetime
    last: str
    synced: datetime

    @contextmanager
    def migration(self) -> Iterator[app.Migration]:
        world, stage = World(), self.stage
        found = app.load(app.place(stage.playbook, stage.inventory, stage.folder / "state", world), {}, world)
        try:
            yield found
        finally:
            found.site.close()

    def judged(self, facts: Told, kind: str, row: str, module: Module, diff: Diff,
               now: datetime | None = None) -> Verdict:
        with self.migration() as migration:
            template = next(each for each in migration.program.templates if each.kind == kind)
            act = Act(template, row, module, diff)
            return Guards(migration.program, migration.site, facts).judge([act], now or self.now)[0][0]

    def switch(self, facts: Told, now: datetime | None = None, row: str = DOMAIN) -> Verdict:
        return self.judged(facts, "domains", row, RECORD, MOVE, now)

    def removal(self, facts: Told, now: datetime, row: str = BATCH) -> Verdict:
        batch = MigrationBatch(name=row, endpoint="contoso-endpoint", state="absent")
        return self.judged(facts, "batches", row, batch, Diff("delete", (), {"status": "Synced"}), now)


RECORD = DnsRecord(zone=DOMAIN, type="MX", values=("0 contoso-com.mail.protection.outlook.com.",))
MOVE = Diff("change", (Change("values", (), RECORD.values),), {"values": ("10 mail.contoso.com.",)})


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    with staged(tmp_path_factory.mktemp("rules"), "cutover") as stage:
        stage.until(lambda: stage.counts("Go or no-go").get("asking", 0) >= 1)
        found = Ready(stage, datetime.fromisoformat(stage.lab.get("/clock")["now"]), "", datetime.min)
        with found.migration() as migration:
            users = migration.site.exchange_online.migration_users()
            stamps = {address: users[address].last_success for address in migration.program.rows.keys("mailboxes")}
        found.synced, found.last = min((at, address) for address, at in stamps.items() if at is not None)
        yield found


def _of(module: str, *rows: str) -> frozenset[tuple[str, str]]:
    return frozenset((module, row) for row in rows)


def _refused(found: Verdict, says: str) -> bool:
    assert found.passed is False and says in found.reason, found
    return True


@pytest.mark.requirement("B-41", "C-16")
def test_mx_moves_when_everybody_is_ready(ready: Ready) -> None:
    assert ready.switch(Told()).passed is True
    uncounted = Told(missing=_of("item_counts", INFO))
    assert _refused(ready.switch(uncounted), f"1 mailbox(es) of {DOMAIN} are not ready: {INFO}: counts not compared")
    uncounted.let_off = _of("item_counts", INFO)
    assert ready.switch(uncounted).passed is True
    assert _refused(ready.switch(Told(word=False)), "no valid approval stands before it")
    assert ready.switch(Told(), ready.synced + timedelta(hours=48)).passed is True
    assert _refused(ready.switch(Told(), ready.synced + timedelta(hours=48) + TINY),
                    f"{ready.last}: last synced more than 48 hours ago")


@pytest.mark.requirement("B-40")
def test_mx_goes_back_by_a_word_while_the_batch_is_there(ready: Ready) -> None:
    home = DnsRecord(zone=DOMAIN, type="MX", values=("10 mail.contoso.com.",))
    back = Diff("change", (Change("values", RECORD.values, home.values),), {"values": RECORD.values})
    assert ready.judged(Told(), "domains", DOMAIN, home, back).passed is True
    assert _refused(ready.judged(Told(word=False), "domains", DOMAIN, home, back), "no valid approval stands before it")


def test_an_empty_list_is_no_yes(ready: Ready) -> None:
    assert _refused(ready.switch(Told(), row="elsewhere.example"), "an empty list proves nothing")
    assert _refused(ready.removal(Told(moved=ready.synced - timedelta(days=9)), ready.now, row="Elsewhere"),
                    "no mailbox of the batch is known: an empty list proves nothing")


@pytest.mark.parametrize(("name", "kind", "domain"), [
    ("@", "MX", DOMAIN), ("sales", "MX", f"sales.{DOMAIN}"), ("autodiscover", "CNAME", DOMAIN),
    ("autodiscover.sales", "CNAME", f"sales.{DOMAIN}")])
def test_a_record_of_another_kind_of_rows_concerns_the_domain_in_its_name(
        ready: Ready, name: str, kind: str, domain: str) -> None:
    record = DnsRecord(zone=DOMAIN, name=name, type=kind, values=RECORD.values)  # type: ignore[arg-type]
    found = ready.judged(Told(), "organisation", "acme", record, Diff("create", MOVE.changes, None))
    if domain == DOMAIN:
        assert found.passed is True
    else:
        assert _refused(found, f"the source lists no mailbox of {domain}: an empty list proves nothing")


@pytest.mark.requirement("B-38")
def test_mx_waits_until_the_old_ttl_has_run_out(ready: Ready) -> None:
    due = ready.now + timedelta(hours=1)
    lowered = Told(lowered=due - timedelta(seconds=7200), ttl=7200)
    early = ready.switch(lowered, due - TINY)
    assert _refused(early, "the old TTL has not run out") and early.until == due
    assert ready.switch(lowered, due).passed is True


@pytest.mark.requirement("B-42", "B-44", "B-45", "B-46", "B-55")
def test_a_cutover_batch_is_removed_after_the_wait_and_a_copy_behind_it(ready: Ready) -> None:
    """The wait ends where the first of all was copied last: one moment later, and another copy is asked for."""
    moved, hour = ready.synced - timedelta(hours=72), timedelta(hours=1)
    assert ready.removal(Told(moved=moved), ready.synced).passed is True
    assert _refused(ready.removal(Told(), ready.now), f"MX of {DOMAIN} has not moved")
    early = ready.removal(Told(moved=moved), ready.synced - TINY)
    assert _refused(early, "other mail systems may still use the old MX (B-42)") and early.until == ready.synced
    longer = ready.removal(Told(moved=moved, ttl=73 * 3600), ready.synced)
    assert _refused(longer, "other mail systems may still use the old MX") and longer.until == ready.synced + hour
    stale = Told(moved=moved + TINY)
    again = ready.removal(stale, ready.now)
    assert _refused(again, f"{ready.last} was not synchronised after the wait's end (B-45)")
    assert again.until == ready.now + hour, "it is synchronised once a day, and looked at until then"
    stale.let_off = _of("mailbox_sync", ready.last)
    assert ready.removal(stale, ready.now).passed is True
    assert _refused(ready.removal(Told(moved=moved, word=False), ready.now), "no valid approval stands before it")
    idle = Told(moved=moved, missing=_of("mailbox_use", ANNA, INFO))
    assert _refused(ready.removal(idle, ready.now),
                    f"1 mailbox(es) whose people do not work in the cloud (B-44): {ANNA}")
    idle.let_off = _of("mailbox_use", ANNA)
    assert ready.removal(idle, ready.now).passed is True
    assert _refused(ready.removal(Told(moved=moved, missing=_of("batch_history", BATCH)), ready.now),
                    "its history is not exported")


@pytest.mark.requirement("S-27")
def test_what_a_conversion_needs(ready: Ready) -> None:
    def judged(facts: Told, address: str = ANNA, saved: bool = True) -> Verdict:
        module = MailUserConversion(address=address, routing_address="a@contoso.onmicrosoft.com",
                                    cloud_legacy_dn="/o=x", cloud_guid="0f8fad5b-d9cb-469f-a165-70867728950e")
        return ready.judged(facts, "mailboxes", address, module, Diff("change", (), {"saved": saved}))

    assert judged(Told()).passed is True
    assert _refused(judged(Told(), "nobody@contoso.com"), "the copy is not complete (no migration user)")
    uncounted = Told(missing=_of("item_counts", ANNA))
    assert _refused(judged(uncounted), "were not compared")
    uncounted.let_off = _of("item_counts", ANNA)
    assert judged(uncounted).passed is True
    assert _refused(judged(Told(), saved=False), "could not be saved")
    assert _refused(judged(Told(word=False)), "no valid approval stands before it")


def test_a_disconnected_mailbox_is_kept_for_thirty_days(ready: Ready) -> None:
    since = ready.now - timedelta(days=30)
    with ready.migration() as migration:
        template = next(each for each in migration.program.templates if each.kind == "mailboxes")
        guards = Guards(migration.program, migration.site, Told())
        module = MailUserConversion(address=ANNA, routing_address="a@contoso.onmicrosoft.com", cloud_legacy_dn="/o=x",
                                    cloud_guid="0f8fad5b-d9cb-469f-a165-70867728950e")
        asked = [Act(template, ANNA, module, Diff("change", (), {}), back=True, since=at)
                 for at in (since, since + TINY, None)]
        assert [found[0].passed for found in guards.judge(asked, ready.now)] == [False, True, None]


@pytest.mark.requirement("B-40", "B-41", "B-49", "C-22")
def test_what_is_missing_in_the_cloud_keeps_mail_at_the_source(ready: Ready) -> None:
    """Changes the organisation, one thing after the other; comes last."""
    leads = DnsRecord(zone=DOMAIN, name="autodiscover", type="CNAME", values=("autodiscover.outlook.com.",))

    def clients(facts: Told) -> Verdict:
        return ready.judged(facts, "domains", DOMAIN, leads, Diff("create", (), None))

    assert clients(Told()).passed is True
    with ready.migration() as migration:
        graph = migration.site.graph
        clara = graph.users()[CLARA]
        assert graph.remove_licences([(clara.id, each) for each in clara.licences]) == [None]
    for judged in (ready.switch, clients):
        assert _refused(judged(Told()), f"{CLARA}: no licence")
        assert judged(Told(let_off=_of("licence", CLARA))).passed is True
    rows = ready.stage.inventory.parent / "mailboxes.csv"
    planned = rows.read_text(encoding="utf-8")
    mine = next(line for line in planned.splitlines(keepends=True) if line.startswith(CLARA))
    rows.write_text(planned.replace(mine, ""), encoding="utf-8")
    assert _refused(ready.switch(Told()), f"{CLARA}: no licence"), "one that nobody has planned is not let off"
    rows.write_text(planned, encoding="utf-8")
    let_off = _of("licence", CLARA)

    with ready.migration() as migration:
        migration.site.exchange_online.invoke("Remove-DistributionGroup", Identity="sales@contoso.com")
    assert _refused(ready.switch(Told(let_off=let_off)), f"1 mailbox(es) of {DOMAIN} are not ready: sales@contoso.com")
    let_off |= _of("", "sales@contoso.com")
    assert ready.switch(Told(let_off=let_off)).passed is True

    ready.stage.lab.post("/fault", kind="hire", address="new.hire@contoso.com", name="New Hire", items=20)
    for judged in (ready.switch, clients):
        assert _refused(judged(Told(let_off=let_off)), "new.hire@contoso.com: no cloud mailbox")
    behind = Told(moved=ready.synced - timedelta(hours=72))
    assert _refused(ready.removal(behind, ready.synced), f"1 mailbox(es) of {DOMAIN} made at the source since MX moved "
                    "are not copied to the cloud (S1'): new.hire@contoso.com")
    before = Told(moved=ready.now + timedelta(hours=1))
    assert _refused(ready.removal(before, ready.now), "other mail systems may still use the old MX")
    let_off |= _of("mailbox_sync", "new.hire@contoso.com")
    behind.let_off = let_off
    assert ready.removal(behind, ready.synced).passed is True
    assert ready.switch(Told(let_off=let_off)).passed is True

    with ready.migration() as migration:
        migration.site.exchange_online.invoke("Remove-MigrationUser", Identity=INFO)
    assert _refused(ready.switch(Told(let_off=let_off)), f"{INFO}: not synced")
    assert clients(Told(let_off=let_off)).passed is True, "clients follow the mailboxes, whose last copy is no matter"
