"""batch_progress: a started batch copies mailboxes, and does not fail all of them at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.connections.migration_objects import by_name
from engine.connections.service_errors import classify
from engine.contract import Diff, Failing, Outlook, Rejected, State, Waiting, Want
from engine.modules.base import Effect, Module, Undo
from engine.modules.migration_batch import commonest


@dataclass(frozen=True, kw_only=True)
class BatchProgress(Module):
    """The batch is under way: at least one of its mailboxes is being copied, or has been (B-31, B-32).

    What concerns every mailbox – a wrong password, a certificate that ended – fails a whole batch within minutes; it is
    told once, for the batch, with its cause. Trying it again starts the failed mailboxes of the batch (B-35).
    """

    batch: Annotated[str, "Name of the batch."]

    family: ClassVar[str] = "progress"
    public: ClassVar[frozenset[str]] = frozenset({
        "copying", "error", "error_times", "failed", "mailboxes", "status", "synced", "under_way"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(hours=1)
    look_again: ClassVar[timedelta] = timedelta(minutes=5)
    rights: ClassVar[tuple[str, ...]] = ("Migration",)
    by_person: ClassVar[tuple[str, ...]] = (
        "Exchange admin centre > Migration > Batch: the batch shows Syncing; View details lists its mailboxes.",
        "Get-MigrationBatch; Get-MigrationUser -BatchId NAME.")

    def key(self) -> str:
        return f"progress/{self.batch}"

    def want(self) -> Want:
        return {"under_way": True}

    def read(self, site: Site) -> State | None:
        found = by_name(site.exchange_online.migration_batches(), self.batch)
        if found is None:
            return None
        # A cutover's groups and contacts come after its mailboxes.
        users = [user for user in site.exchange_online.migration_users().values()
                 if user.batch == found.name and user.raw.get("RecipientType") in (None, "", "Mailbox")]
        states = Counter(user.state for user in users)
        words, times = commonest(users)
        copied = sum(user.state == "synced" or user.status in ("Syncing", "ProvisionUpdating") for user in users)
        return {"status": found.status, "mailboxes": len(users) or found.count, "copying": copied,
                "failed": states["failed"], "synced": states["synced"], "under_way": copied > 0,
                "error": words, "error_times": times}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Waiting(f"the service does not list the batch {self.batch} yet")
        failed, all_of_them = int(str(state["failed"])), int(str(state["mailboxes"]))
        if failed and failed >= all_of_them:
            known = classify(str(state["error"]))
            whole = "its only mailbox" if failed == 1 else f"every one of its {failed:,} mailboxes"
            return Failing(f"{whole} failed: {state['error'] or 'no reason given'} ({known}; {state['error_times']} of "
                           f"{failed:,})", known.remedy, retry=known.action == "retry")
        if state["status"] in ("Failed", "Corrupted", "Stopped"):
            return Failing(f"the batch is {str(state['status']).lower()}, and no mailbox of it was copied",
                           "look at `mailmove failures`, then retry")
        return Waiting(f"{state['status']}: {state['synced']} of {all_of_them} mailboxes copied, {failed} failed")

    def apply(self, site: Site, diff: Diff) -> None:
        """Only after a person said retry, or where another try may help: the failed mailboxes run again."""
        found = by_name(site.exchange_online.migration_batches(), self.batch)
        if found is None:
            raise Rejected("exchange_online", f"there is no batch {self.batch}")
        if found.status not in ("Starting", "Syncing", "IncrementalSyncing"):
            site.exchange_online.invoke("Start-MigrationBatch", Identity=found.name)
