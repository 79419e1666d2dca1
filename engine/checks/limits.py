"""What the tenant still takes: migration limits and batches already there (B-54, C-28), batches that age (B-56)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from engine.checks.base import Check, Look, copies, counted, cutover, refuse, warn
from engine.connections.migration_objects import MigrationBatch
from engine.contract import Finding

#: B-56: without an administrator's act a Synced batch is stopped after so long; a Stopped or Failed one is removed.
STOPPED_AFTER = timedelta(days=60)
REMOVED_AFTER = timedelta(days=90)
WARN_AFTER = timedelta(days=45)
#: OutlookAnywhere batches of both methods (Manage migration batches).
OUTLOOK_ANYWHERE = "exchangeoutlookanywhere"


def _limits(look: Look) -> Iterator[Finding]:
    there = look.site.exchange_online.migration_batches()
    missing = [name for name in look.keys("batches") if name not in there and name not in look.memory.removed]
    if not missing:
        return
    config = look.site.exchange_online.migration_config()
    foreign = sorted((batch for name, batch in there.items() if name not in look.keys("batches")), key=_age)
    old = [batch.name for batch in foreign]
    remedy = (f"Remove batches nobody needs any more, the oldest first: {', '.join(old[:3])}. Their history goes with "
              "them: export it before." if old else "Remove finished batches of this migration first.")
    if not config.can_submit:
        yield refuse(f"the tenant takes no new batch (CanSubmitNewBatch is no; {len(there):,} of "
                     f"{config.batches_max:,} are there) (B-54)", remedy, old)
    elif len(there) + len(missing) > config.batches_max:
        yield refuse(f"{counted(len(missing), 'batch', 'batches')} to be made beside {len(there):,}; the tenant takes "
                     f"{config.batches_max:,} (B-54)", remedy, old)
    if not look.staged and not config.supports_cutover and look.site.graph.organization().sync_enabled is not True:
        yield refuse("the tenant says that a cutover is not available (SupportsCutover is no) (C-07)",
                     "Directory synchronisation may still be turning off: that takes up to 72 hours. Run again later.")


def _one_cutover(look: Look) -> Iterator[Finding]:
    there = look.site.exchange_online.migration_batches()
    ours = [name for name in look.keys("batches") if name in there]
    others = sorted(name for name, batch in there.items() if name not in look.keys("batches")
                    and _type(batch) == OUTLOOK_ANYWHERE)
    if len(look.keys("batches")) > 1:
        yield refuse(f"{counted(len(look.keys('batches')), 'batch', 'batches')} in the inventory: a cutover has "
                     "exactly one (C-14, C-28)", "Leave one row under batches:.", look.keys("batches"))
    if others and ours:
        yield warn(f"another Outlook Anywhere batch stands beside {ours[0]}: {', '.join(others[:3])} (C-28)",
                   "Only one cutover batch can exist; do not start it.", others)
    elif others:
        yield refuse(f"the tenant already has another Outlook Anywhere batch: {', '.join(others[:3])}; only one "
                     "cutover batch can exist at a time (C-28)",
                     "Remove it when nobody needs it; export its history before.", others)
    imap = sorted(name for name, batch in there.items() if _type(batch) == "imap")
    if imap:
        yield warn(f"IMAP batches are reported not to run beside a cutover: {', '.join(imap[:3])} (C-28)",
                   "Finish and remove them first.", imap)


def _aging(look: Look) -> Iterator[Finding]:
    there = look.site.exchange_online.migration_batches()
    for name in look.keys("batches"):
        batch = there.get(name)
        if batch is None:
            continue
        last = _last_act(batch)
        if last is None or look.now - last < WARN_AFTER:
            continue
        if batch.status in ("Synced", "SyncedWithErrors", "IncrementalSyncing"):
            day = last + STOPPED_AFTER
            cost = ("nothing is lost, staged batches do not synchronise again" if look.staged else
                    "its daily synchronisation ends then, and it can no longer be removed safely")
            remedy = (f"Set-MigrationBatch -Identity {name} -SyncNow is an act and begins the 60 days anew."
                      if not look.staged else "Convert and remove it when its turn has come.")
            yield warn(f"batch {name}: no act since {last:%Y-%m-%d}; the service stops it on {day:%Y-%m-%d} (60 days); "
                       f"{cost} (B-56)", remedy, (name,))
        elif batch.status in ("Stopped", "Failed"):
            day = last + REMOVED_AFTER
            yield warn(f"batch {name} is {batch.status} since {last:%Y-%m-%d} at the latest; the service removes it "
                       f"with its history on {day:%Y-%m-%d} (90 days) (B-56)",
                       f"Start-MigrationBatch -Identity {name} keeps it; export its history in any case.", (name,))


def _type(batch: MigrationBatch) -> str:
    return str(batch.raw.get("MigrationType") or "").replace(" ", "").lower()


def _last_act(batch: MigrationBatch) -> datetime | None:
    """The latest act of an administrator that the service shows: made, started, synchronised by hand or restarted."""
    return max((each for each in (batch.created, batch.started, batch.initial_synced) if each), default=None)


def _age(batch: MigrationBatch) -> str:
    return f"{_last_act(batch) or ''}"


CHECKS = (
    Check("tenant_limits", "The tenant takes the batches that are to be made", ("B-54", "C-07"),
          ("exchange_online", "graph"), _limits, refuses=True, where=copies),
    Check("one_cutover_batch", "No other cutover batch exists", ("C-28",), ("exchange_online",), _one_cutover,
          refuses=True, where=cutover),
    Check("batch_age", "No batch comes near the 60 and 90 days of the service", ("B-56",), ("exchange_online",), _aging,
          where=copies),
)
