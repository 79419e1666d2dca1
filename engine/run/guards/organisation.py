"""What concerns everybody: directory synchronisation and the migration endpoint."""

from __future__ import annotations

from datetime import datetime

from engine.run.guards.ground import Act, Ground, Verdict


def directory_sync_off(ground: Ground, act: Act, now: datetime) -> Verdict:
    """C-07, J4: never in a staged migration, whose users it makes."""
    if ground.staged:
        return Verdict("directory_sync_off", False, "a staged migration needs directory synchronisation (S-06)")
    return Verdict("directory_sync_off", True, "a cutover needs it off (C-07)")


def endpoint_changed(ground: Ground, act: Act, now: datetime) -> Verdict:
    """B-18, J6: never while a batch that uses it runs."""
    endpoint = act.module.key().partition("/")[2]
    live = [name for name, batch in ground.site.exchange_online.migration_batches().items()
            if batch.endpoint == endpoint and batch.status in ("Starting", "Syncing", "IncrementalSyncing")]
    if live:
        return Verdict("endpoint_changed", False, f"batch {live[0]} uses it and is running")
    return Verdict("endpoint_changed", True, "no running batch uses it")
