"""The migration account: enabled, not locked, its password good until the planned end (B-06)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from engine.checks.base import Check, Look, copies, refuse, warn
from engine.contract import Finding

#: Where the inventory names no `planned_end`, so long is looked ahead.
USUAL = timedelta(days=30)
#: Batches that have been copied need the account for the daily synchronisation only.
COPIED = frozenset({"Synced", "SyncedWithErrors", "IncrementalSyncing", "Completed", "CompletedWithErrors"})


def _account(look: Look) -> Iterator[Finding]:
    user = look.var("source_account")
    if not user:
        return
    found = look.site.directory.account(user)
    say = refuse if _still_needed(look) else warn
    if found is None:
        yield warn(f"{user} is not found in the directory: whether it is enabled and when its password ends could not "
                   "be told (B-06)", "Correct source_account, or look at the domain it is in yourself.")
        return
    if not found.enabled:
        yield say(f"{user} is disabled: every mailbox of a batch would fail (B-06)", f"Enable it: {found.dn}")
    if found.locked:
        yield say(f"{user} is locked: every mailbox of a batch would fail (B-06)",
                  "Unlock it, and find out who signs in with an old password.")
    end = look.planned_end or look.now + USUAL
    until = (f"the planned end {end:%Y-%m-%d}" if look.planned_end else
             f"{end:%Y-%m-%d} (the inventory names no planned_end; 30 days are looked ahead)")
    for what, ends in (("its password", found.password_ends), ("the account", found.account_ends)):
        if ends is None:
            continue
        if ends <= look.now:
            yield say(f"{user}: {what} expired on {ends:%Y-%m-%d}: every mailbox of a batch would fail (B-06)",
                      "Renew it, then give it to the migration endpoint: Set-MigrationEndpoint -Credentials")
        elif ends < end:
            yield warn(f"{user}: {what} expires on {ends:%Y-%m-%d}, before {until} (B-06)",
                       "Renew it on a day you choose, and give it to the migration endpoint at once: "
                       "Set-MigrationEndpoint -Credentials")


def _still_needed(look: Look) -> bool:
    """Some batch has still to be copied."""
    there = look.site.exchange_online.migration_batches()
    return any(name not in look.memory.removed and (name not in there or there[name].status not in COPIED)
               for name in look.keys("batches"))


CHECKS = (
    Check("source_account", "The migration account is enabled and stays so", ("B-06",),
          ("directory", "exchange_online"), _account, refuses=True, liftable=True, where=copies),
)
