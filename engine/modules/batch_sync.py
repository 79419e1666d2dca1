"""batch_sync: everything of a cutover batch was synchronised once more, after a moment that matters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.migration_objects import MigrationUser
from engine.contract import Diff, Outlook, State, Waiting, Want
from engine.modules.base import Effect, Module, Reads, Undo


@dataclass(frozen=True, kw_only=True)
class BatchSync(Module):
    """Every copied mailbox of the batch has been synchronised since a moment (B-45).

    The service does so every 24 hours by itself (C-16); where that has not happened yet, it is asked to do it now
    (Set-MigrationBatch -SyncNow), and a batch that stands still is started. Only for a cutover: a staged batch has no
    such synchronisation, and its restart would move the stamp without copying anything (S-34).
    """

    batch: Annotated[str, "Name of the batch."]
    since: Annotated[datetime, "The moment; in a playbook the end of the wait after the MX switch."]

    family: ClassVar[str] = "batch_sync"
    public: ClassVar[frozenset[str]] = frozenset({"behind", "oldest", "status"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    reads: ClassVar[Reads] = "listing"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(hours=6)
    look_again: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("Migration",)

    def key(self) -> str:
        return f"batch_sync/{self.batch}"

    def want(self) -> Want:
        return {"behind": 0}

    def read(self, site: Site) -> State | None:
        """None: the batch lists no copied mailbox, so nothing can be said of all of them."""
        batch = site.exchange_online.migration_batches().get(self.batch)
        users = [user for user in site.exchange_online.migration_users().values()
                 if user.batch == self.batch and user.state == "synced" and _is_mailbox(user)]
        if batch is None or not users:
            return None
        behind = [user for user in users if user.last_success is None or user.last_success < self.since]
        oldest = min((user.last_success for user in users if user.last_success is not None), default=None)
        return {"behind": len(behind), "oldest": oldest, "status": batch.status}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Waiting(f"the batch {self.batch} lists no copied mailbox")
        if state["status"] in ("IncrementalSyncing", "Syncing", "Starting"):
            return Waiting(f"{state['behind']} mailboxes have still to be synchronised since "
                           f"{self.since:%Y-%m-%d %H:%M} UTC")
        return None

    def apply(self, site: Site, diff: Diff) -> None:
        still = diff.before is not None and diff.before["status"] == "Stopped"
        more: dict[str, Any] = {} if still else {"SyncNow": True}
        site.exchange_online.invoke("Start-MigrationBatch" if still else "Set-MigrationBatch", Identity=self.batch,
                                    **more)

    def restored(self, before: State | None, state: State | None) -> Want | None:
        """A synchronisation stays: there is nothing to take back."""
        return {} if state is not None else None


def _is_mailbox(user: MigrationUser) -> bool:
    """Groups and contacts come once, at the end of the first copy; nothing of them is synchronised again."""
    return str(user.raw.get("RecipientType") or "Mailbox").lower() == "mailbox"
