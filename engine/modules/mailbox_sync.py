"""mailbox_sync: waits for a mailbox's first copy, and starts it again where that may help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.migration_objects import SYNC_LADDER, MigrationUser, span
from engine.connections.service_errors import WAITS_FOR_MEMBERS, classify
from engine.contract import AtLeast, Diff, Failing, Fault, Outlook, Rejected, State, Unknown, Waiting, Want
from engine.modules.base import Effect, Module, Reading, Undo

#: A batch in one of these takes up the users that a stop, or its creation, left stopped.
UNDER_WAY = ("Starting", "Syncing", "IncrementalSyncing")


@dataclass(frozen=True, kw_only=True)
class MailboxSync(Module):
    """The mailbox's first copy is complete (B-35), judged mailbox by mailbox, never by the batch.

    A failed copy whose reason may pass is started again; any other shows the service's words and a remedy. A copy that
    stands still is told (B-32). A cutover's group is followed in the same way, by its address.
    """

    address: Annotated[str, "Primary address of the mailbox."]
    batch: Annotated[str, "Name of its batch; a cutover's group need not say it."] = ""
    stalled_after: Annotated[timedelta, "A copy without progress for so long is told as stalled (B-32)."] = timedelta(
        hours=3)

    family: ClassVar[str] = "sync"
    public: ClassVar[frozenset[str]] = frozenset({
        "batch_status", "error", "error_class", "items", "last_success", "skipped", "stalled_minutes", "state",
        "status"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(hours=1)
    look_again: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("Migration",)
    by_person: ClassVar[tuple[str, ...]] = (
        "Exchange admin centre > Migration > Batch > View details: the mailbox's status, its report to download.",
        "Get-MigrationUser; Get-MigrationUserStatistics -Identity ADDRESS -IncludeReport; "
        "Start-MigrationUser -Identity ADDRESS.")

    def key(self) -> str:
        return f"sync/{self.address.lower()}"

    def want(self) -> Want:
        return {"state": AtLeast("synced", SYNC_LADDER)}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Waiting(f"{f'the batch {self.batch} does not list' if self.batch else 'no batch lists'} it yet")
        status, error = str(state["status"]), str(state["error"] or "")
        if state["state"] == "failed":
            known = classify(error)
            if known.action == "wait":
                return Waiting(f"{known.cause}: {error}")
            return Failing(f"{status}: {error or 'no reason given'} ({known})", known.remedy,
                           retry=known.action == "retry")
        if state["state"] == "stopped":
            if status in ("Stopping", "Removing"):
                return Waiting(f"{status.lower()} at the service")
            if state["batch_status"] in UNDER_WAY:
                return Waiting(f"its batch is {str(state['batch_status']).lower()}; it has not been taken up yet")
            return Failing(f"{status}: somebody stopped it", "start it again at the service, or retry", retry=True)
        if status == "ProvisionUpdating":
            return Waiting(f"{status} ({WAITS_FOR_MEMBERS}): {WAITS_FOR_MEMBERS.remedy}")
        minutes = state.get("stalled_minutes")
        if isinstance(minutes, int) and timedelta(minutes=minutes) >= self.stalled_after:
            return Waiting(f"{status}, {state['items']} items so far; stalled: no progress for {minutes // 60} h "
                           f"{minutes % 60:02} min" + (f": {error}" if error else "") + "; lower the endpoint's "
                           "max_concurrent_migrations, or stop it and start it again")
        return Waiting(f"{status}, {state['items']} items so far" + (
            f"; {error} ({classify(error)})" if error else ""))

    def apply(self, site: Site, diff: Diff) -> None:
        user = site.exchange_online.migration_users().get(self.address.lower())
        if user is None:
            raise Rejected("exchange_online", f"no batch lists {self.address}",
                           remedy=f"check that {self.batch or 'the batch'} holds it")
        site.exchange_online.invoke("Start-MigrationUser", Identity=user.identity)

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        """One listing; the statistics of those alone who failed without saying why, or are being copied now: of these
        there are never more than the endpoint has slots."""
        users = site.exchange_online.migration_users()
        batches = site.exchange_online.migration_batches()
        asked = {module.key(): users.get(module.key().partition("/")[2]) for module in modules}
        closer = [user for user in asked.values() if user is not None and (
            user.status == "Syncing" or (user.state == "failed" and not user.error))]
        answers = site.exchange_online.user_statistics([user.identity for user in closer]) if closer else ()
        said = {user.address: answer for user, answer in zip(closer, answers, strict=True)}
        return {key: None if user is None else _state(
            user, batches[user.batch].status if user.batch in batches else "", said.get(user.address))
            for key, user in asked.items()}


def _state(user: MigrationUser, batch_status: str, statistics: Mapping[str, Any] | Fault | None) -> State | Unknown:
    if isinstance(statistics, Fault):
        if user.state == "failed":
            return Unknown.of(statistics)  # why it failed is not known
        statistics = None  # only how long it stands still
    error = user.error or str((statistics or {}).get("Error") or "")
    stalled = span((statistics or {}).get("StalledDuration"))
    return {"state": user.state, "status": user.status, "batch_status": batch_status, "error": error,
            "error_class": classify(error).id if error or user.state == "failed" else None,
            "stalled_minutes": int(stalled.total_seconds()) // 60 if stalled is not None else None,
            "items": user.items, "skipped": user.skipped, "last_success": user.last_success}
