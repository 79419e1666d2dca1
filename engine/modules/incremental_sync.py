"""incremental_sync: a cutover batch keeps the cloud as the source is, day by day, until it is removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.connections.migration_objects import by_name
from engine.contract import Diff, Failing, Outlook, State, Waiting, Want
from engine.modules.base import Effect, Module, Undo

#: Statuses in which the service goes on synchronising by itself every 24 hours.
GOES_ON = frozenset({"Synced", "SyncedWithErrors", "Completed", "CompletedWithErrors"})


@dataclass(frozen=True, kw_only=True)
class IncrementalSync(Module):
    """The batch was synchronised within the last day or so (C-16), and its end state is Synced.

    The service synchronises a cutover batch every 24 hours. One that has fallen behind is asked for a sync now; one
    that was stopped – by somebody, or by the service after 60 days without an administrator's act – is told, and
    started again on `retry`. A staged batch has no such syncs.
    """

    batch: Annotated[str, "Name of the cutover batch."]
    within: Annotated[timedelta, "How old the last sync may be."] = timedelta(hours=26)

    family: ClassVar[str] = "incremental"
    public: ClassVar[frozenset[str]] = frozenset({"fresh", "last_synced", "status"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    # A sync of every mailbox may take its time.
    settles_within: ClassVar[timedelta] = timedelta(hours=12)
    look_again: ClassVar[timedelta] = timedelta(minutes=30)
    rights: ClassVar[tuple[str, ...]] = ("Migration",)
    by_person: ClassVar[tuple[str, ...]] = (
        "Exchange admin centre > Migration > Batch: the column Last synced time.",
        "Get-MigrationBatch; Set-MigrationBatch -Identity NAME -SyncNow; Start-MigrationBatch -Identity NAME.")

    def key(self) -> str:
        return f"incremental/{self.batch}"

    def want(self) -> Want:
        return {"fresh": True}

    def read(self, site: Site) -> State | None:
        found = by_name(site.exchange_online.migration_batches(), self.batch)
        if found is None:
            return None
        age = site.world.clock.now() - found.last_synced if found.last_synced is not None else None
        return {"status": found.status, "last_synced": found.last_synced,
                "fresh": found.status in GOES_ON and age is not None and age <= self.within}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Failing(f"the service has no batch {self.batch}: nothing is synchronised any more",
                           "look whether it was removed: after 90 days stopped the service removes a batch by itself")
        status = str(state["status"])
        if status in ("Stopping", "Stopped", "Failed", "Corrupted"):
            return Failing(f"the batch is {status}: the daily syncs have ended; after 60 days without an "
                           "administrator's act the service stops a batch",
                           "start it again with retry, and wait for a sync")
        if status in GOES_ON:
            return None
        return Waiting(f"the batch is {status}")

    def apply(self, site: Site, diff: Diff) -> None:
        status = str((diff.before or {}).get("status"))
        if status in GOES_ON:
            site.exchange_online.invoke("Set-MigrationBatch", Identity=self.batch, SyncNow=True)
        else:
            site.exchange_online.invoke("Start-MigrationBatch", Identity=self.batch)
