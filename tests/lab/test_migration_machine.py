"""The lab's migration service against the table of transitions, by a machine that does at random what people may do.

The tables below are written down from the pages ("Manage migration batches", "Migration users status report",
Start-, Stop-, Remove-MigrationBatch), not from the lab: what it does beside them is a fault of the lab.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
from cloud_stand import Cloud, cloud, csv, description
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

USERS = [f"user{n}@contoso.com" for n in range(4)]
GONE = "(gone)"

#: What becomes of a batch by itself, as time passes; {kind: {status: next}}.
BY_ITSELF: dict[str, set[str]] = {
    "Created": set(),
    "Starting": {"Syncing"},
    "Syncing": {"Synced", "SyncedWithErrors", "Failed"},
    "Synced": {"IncrementalSyncing", "Stopped"},          # 24 hours (cutover); 60 days without an act
    "SyncedWithErrors": {"IncrementalSyncing"},
    "IncrementalSyncing": {"Synced", "SyncedWithErrors", "Stopped"},
    "Stopping": {"Stopped"},
    "Stopped": {GONE},                                    # 90 days
    "Failed": {GONE},
    "Corrupted": set(), "Waiting": set(),
    "Completed": {GONE},                                  # 60 days
    "Removing": {GONE},
}
#: Statuses in which a cmdlet is taken, and what it leads to at once.
START = {"Created": {"Starting"}, "Stopped": {"Starting"}, "Failed": {"Starting", "Syncing"},
         "SyncedWithErrors": {"Starting", "Syncing"}, "Synced": {"Synced"}}
REMOVE_REFUSED = {"Starting", "Syncing", "Stopping", "Removing"}  # a copying batch is stopped first (inferred)

#: A user's way by itself.
USER_BY_ITSELF = {
    "Validating": {"Queued", "Failed"}, "Queued": {"Provisioning", "Failed"},
    "Provisioning": {"ProvisionUpdating", "Syncing", "Failed"}, "ProvisionUpdating": {"Syncing", "Synced", "Failed"},
    "Syncing": {"Synced", "Failed"}, "Synced": {"IncrementalSyncing", "Completed"},
    "IncrementalSyncing": {"Synced", "IncrementalFailed", "Stopped"}, "Stopping": {"Stopped"},
    "Stopped": {"Validating"},  # taken up by the batch that was started
    "Failed": {"Validating"}, "IncrementalFailed": {"Validating"}, "Corrupted": set(), "Completed": set(),
}
#: Groups and contacts are no mailboxes: they are made when the mailboxes are there.
OTHERS_BY_ITSELF = {"Stopped": {"Synced", "ProvisionUpdating", "Failed"}, "ProvisionUpdating": {"Synced", "Failed"},
                    "Failed": {"Synced", "ProvisionUpdating"}, "Synced": {"ProvisionUpdating"}, "Stopping": {"Stopped"}}
#: StatusSummary of each.
BUSY = {"Validating", "Queued", "Provisioning", "Syncing", "Stopping"}


def reachable(table: dict[str, set[str]], start: str) -> set[str]:
    found, left = {start}, [start]
    while left:
        for follows in table.get(left.pop(), set()) - found:
            found.add(follows)
            left.append(follows)
    return found


class Service(RuleBasedStateMachine):
    """One batch of four mailboxes, and whatever an administrator, the clock and the source may do to it."""

    lab: Cloud
    kind: str

    @initialize(kind=st.sampled_from(["staged", "cutover"]), slots=st.integers(1, 5), automatic=st.booleans())
    def create(self, kind: str, slots: int, automatic: bool) -> None:
        self.kind = kind
        self.lab = cloud(description(kind, exchange="2007" if kind == "staged" else "2010", count=4))
        self.lab.own_domain()
        self.lab.endpoint(slots=slots)
        self.make(automatic)

    def make(self, automatic: bool) -> None:
        given: dict[str, Any] = {"CSVData": csv(USERS)} if self.kind == "staged" else {}
        self.lab.row("New-MigrationBatch", Name="B", SourceEndpoint="onprem", AutoStart=automatic, Confirm=False,
                     **given)
        assert self.status() == ("Starting" if automatic else "Created")

    # ------------------------------------------------------------------------------------------ what is seen

    def status(self) -> str:
        found = self.lab.migration.batches.get("b")
        return found.status if found is not None else GONE

    def users(self) -> dict[str, tuple[str, str]]:
        return {each.address: (each.kind, each.status) for each in self.lab.migration.users.values()}

    def run(self, cmdlet: str, **given: Any) -> bool:
        """Whether the service took it. A refusal changes nothing."""
        before = (self.lab.migration.state(), dict(self.lab.counters.effects))
        said, document = self.lab.exo(cmdlet, Confirm=False, **given)
        if said < 400:
            return True
        assert document["error"]["message"]
        assert before == (self.lab.migration.state(), dict(self.lab.counters.effects))
        return False

    # -------------------------------------------------------------------------------------- what may be done

    @rule()
    def start(self) -> None:
        before = self.status()
        taken = self.run("Start-MigrationBatch", Identity="B")
        assert taken == (before in START), before
        if taken:
            assert self.status() in START[before]

    @rule()
    def stop(self) -> None:
        before, busy = self.status(), any(status in BUSY for _, status in self.users().values())
        taken = self.run("Stop-MigrationBatch", Identity="B")
        goes_on = self.kind == "cutover" and before in ("Synced", "SyncedWithErrors", "IncrementalSyncing")
        allowed = before == "Starting" or (before == "Syncing" and busy) or goes_on
        assert taken == allowed, before
        if taken:
            assert self.status() == "Stopping"

    @rule()
    def remove(self) -> None:
        before = self.status()
        taken = self.run("Remove-MigrationBatch", Identity="B")
        assert taken == (before != GONE and before not in REMOVE_REFUSED), before
        if taken:
            assert self.status() == "Removing"

    @rule()
    def sync_now(self) -> None:
        before = self.status()
        if not self.run("Set-MigrationBatch", Identity="B", SyncNow=True):
            assert before == GONE
            return
        moves = self.kind == "cutover" and before in ("Synced", "SyncedWithErrors")
        assert self.status() == ("IncrementalSyncing" if moves else before)

    @rule(user=st.sampled_from(USERS))
    def start_user(self, user: str) -> None:
        before, begun = self.users().get(user), self.batch_begun()
        taken = self.run("Start-MigrationUser", Identity=user)
        again = before is not None and before[1] in ("Failed", "IncrementalFailed", "Stopped")
        assert taken == (begun and again), before
        if taken:
            assert self.users()[user][1] == "Validating" and self.status() == "Syncing"

    @rule(user=st.sampled_from(USERS))
    def stop_user(self, user: str) -> None:
        before = self.users().get(user)
        taken = self.run("Stop-MigrationUser", Identity=user)
        assert taken == (before is not None and before[1] in BUSY - {"Stopping"}), before

    @precondition(lambda self: len(self.users()) > 2)
    @rule(user=st.sampled_from(USERS))
    def remove_user(self, user: str) -> None:
        there = user in self.users()
        assert self.run("Remove-MigrationUser", Identity=user) == there
        assert user not in self.users()

    @precondition(lambda self: self.status() == GONE)
    @rule(automatic=st.booleans())
    def again(self, automatic: bool) -> None:
        self.make(automatic)

    @rule(user=st.sampled_from(USERS), error=st.sampled_from(["E05", "E08", "E11", "E12", "E14", None]))
    def befalls(self, user: str, error: str | None) -> None:
        self.lab.faults.set({"kind": "mailbox", "address": user, "error": error})

    @rule(error=st.sampled_from(["E03", None]))
    def source(self, error: str | None) -> None:
        self.lab.faults.set({"kind": "endpoint", "error": error})

    @rule(span=st.sampled_from([timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=2),
                                timedelta(hours=25), timedelta(days=7), timedelta(days=61), timedelta(days=91)]))
    def time_passes(self, span: timedelta) -> None:
        before, users = self.status(), self.users()
        self.lab.clock.advance(span.total_seconds())
        assert self.status() in reachable(BY_ITSELF, before), (before, self.status())
        for address, (kind, status) in self.users().items():
            if address in users and before != GONE:
                table = USER_BY_ITSELF if kind == "Mailbox" else OTHERS_BY_ITSELF
                assert status in reachable(table, users[address][1]), (address, users[address][1], status)

    def batch_begun(self) -> bool:
        found = self.lab.migration.batches.get("b")
        return found is not None and found.started is not None

    # ---------------------------------------------------------------------------------------- what always holds

    @invariant()
    def a_batch_is_what_its_users_are(self) -> None:
        batch = self.lab.migration.batches.get("b")
        if batch is None:
            assert self.users() == {}
            return
        statuses = [each.status for each in batch.users]
        assert sum(batch.counts.values()) == len(statuses)
        assert all(batch.counts[status] == statuses.count(status) for status in statuses)
        if batch.status == "Synced":
            assert not {"Failed", "IncrementalFailed"} & set(statuses)
        if batch.status in ("Synced", "SyncedWithErrors", "Failed", "Stopped"):
            assert not set(statuses) & BUSY
        row = self.lab.row("Get-MigrationBatch", Identity="B")
        assert row["TotalCount"] == len(statuses) and row["FinalizedCount"] == 0

    @invariant()
    def slots_are_never_lost_or_overdrawn(self) -> None:
        end = self.lab.migration.endpoints.by_name["onprem"]
        held = sum(each.holds_slot for each in self.lab.migration.users.values())
        assert 0 <= end.active == held <= end.max_migrations

    @invariant()
    def nothing_is_made_twice(self) -> None:
        for user in USERS:
            assert self.lab.counters.effects[f"mailbox/{user} create"] <= 1

    @invariant()
    def a_failure_has_its_words(self) -> None:
        for each in self.lab.migration.users.values():
            if each.status in ("Failed", "IncrementalFailed"):
                assert each.error is not None and each.error.text
            elif each.status == "Synced":
                assert each.error is None


TestService = Service.TestCase
#: The same story every time, so that nobody's landing depends on luck; MACHINE_EXAMPLES=2000 by hand draws new ones.
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "0"))
TestService.settings = settings(max_examples=EXAMPLES or 60, stateful_step_count=40, deadline=None,
                                derandomize=not EXAMPLES,
                                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def test_a_null_identity_answers_with_every_object() -> None:
    """Trap 1: "Caution" in the help of Get-MigrationBatch and Get-MigrationUser."""
    lab = cloud()
    lab.own_domain()
    lab.endpoint()
    for name, users in (("One", USERS[:1]), ("Two", USERS[1:3])):
        lab.row("New-MigrationBatch", Name=name, SourceEndpoint="onprem", CSVData=csv(users), Confirm=False)
    assert len(lab.rows("Get-MigrationBatch", Identity=None)) == 2
    assert len(lab.rows("Get-MigrationUser", Identity=None)) == 3
    assert len(lab.rows("Get-MigrationUserStatistics", Identity=None)) == 3


@pytest.mark.parametrize(("status", "days"), [("Completed", 60), ("Failed", 90), ("Stopped", 90)])
def test_what_has_ended_is_removed_by_the_service_in_its_time(status: str, days: int) -> None:
    lab = cloud(description("cutover", exchange="2010"))
    lab.own_domain()
    lab.endpoint()
    lab.batch(None)
    if status == "Stopped":
        lab.clock.advance(300)
        lab.rows("Stop-MigrationBatch", Identity="Batch01", Confirm=False)
        lab.clock.advance(120)
    elif status == "Failed":
        lab.faults.set({"kind": "endpoint", "error": "E03"})
        lab.hours(1)
    else:
        lab.hours(24)
        lab.faults.set({"kind": "status", "batch": "Batch01", "status": "Completed"})
    assert lab.row("Get-MigrationBatch", Identity="Batch01")["Status"] == status
    lab.hours(days * 24 - 2)
    assert len(lab.rows("Get-MigrationBatch")) == 1
    lab.hours(3)
    assert lab.rows("Get-MigrationBatch") == [] and lab.rows("Get-MigrationUser") == []
