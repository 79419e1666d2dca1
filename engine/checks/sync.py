"""Directory synchronisation as the method needs it: off for a cutover, on, fresh and without errors for staged.

C-07, C-04, S-06, S-08, J4. Turning it off takes up to 72 hours and cannot be cancelled, so a person says so by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from engine.checks.base import Check, Look, copies, mailboxes, note, refuse, warn
from engine.contract import Finding

#: S-06: a run every 30 minutes is usual; after three hours something is wrong.
FRESH = timedelta(hours=3)


def _state(look: Look) -> Iterator[Finding]:
    organisation = look.site.graph.organization()
    if look.staged:
        yield from _staged(look, organisation.sync_enabled is True)
    elif organisation.sync_enabled is True:
        yield refuse("directory synchronisation is on: a cutover makes its users in the cloud and is not available "
                     "(C-07)", "Choose staged, or have it turned off: it takes up to 72 hours, cannot be cancelled, "
                     "and every user is then managed in the cloud. Lifting this check says that; the playbook's task "
                     "then hands you the line.")


def _staged(look: Look, enabled: bool) -> Iterator[Finding]:
    if enabled:
        return
    begun = sorted(set(look.site.exchange_online.migration_batches()) & set(look.keys("batches")))
    if begun:
        yield refuse(f"directory synchronisation is off while a staged migration is under way ({begun[0]}): its users "
                     "come from there (S-06)", "Turn it on again; a full synchronisation follows.")
    else:
        yield warn("directory synchronisation is off: a staged migration makes no user without it (S-06)",
                   "Set up Microsoft Entra Connect; the playbook waits for it before the first batch.")


def _health(look: Look) -> Iterator[Finding]:
    organisation = look.site.graph.organization()
    if organisation.sync_enabled is not True:
        return
    last = organisation.last_sync
    if last is None:
        yield warn("directory synchronisation is on and has never run (S-06)", "Look at the synchronisation server.")
    elif look.now - last > FRESH:
        yield warn(f"directory synchronisation last ran {last:%Y-%m-%d %H:%M} UTC, more than "
                   f"{FRESH.total_seconds() / 3600:.0f} hours ago (S-06)",
                   "On its server: Start-ADSyncSyncCycle -PolicyType Delta")
    users = look.site.graph.users()
    ill = {address: users[address].sync_errors[0] for address in look.planned
           if address in users and users[address].sync_errors}
    if ill:
        address, error = next(iter(ill.items()))
        yield warn(f"{mailboxes(len(ill))} whose user has a synchronisation error: {address}: {error} (S-06)",
                   "Mend the value at the source, then run the synchronisation.", sorted(ill))


def _managed(look: Look) -> Iterator[Finding]:
    users = look.site.graph.users()
    ours = {address: users[address] for address in look.planned if address in users}
    if not ours:
        return
    synced = sorted(address for address, user in ours.items() if user.synced)
    if look.staged and len(synced) < len(ours):
        alone = sorted(set(ours) - set(synced))
        yield warn(f"{mailboxes(len(alone))} whose user is not synchronised from the source: staged users stay managed "
                   "there (S-08)", "Find out who made them; a mailbox already there fails in the batch.", alone)
    elif not look.staged and synced:
        yield warn(f"{mailboxes(len(synced))} whose user is still marked as synchronised: after a cutover accounts are "
                   "managed in the cloud (C-04)", "Wait until turning directory synchronisation off has ended.", synced)
    elif look.staged:
        yield note(f"{mailboxes(len(synced))} managed at the source: addresses and names are changed there, the "
                   "cloud refuses them (S-08)")


CHECKS = (
    Check("directory_sync", "Directory synchronisation is as the method needs it", ("C-07", "S-06"),
          ("graph", "exchange_online"), _state, refuses=True, liftable=True, where=copies),
    Check("sync_health", "Directory synchronisation is fresh and without errors", ("S-06",), ("graph",), _health,
          where=copies),
    Check("managed_where", "Users are managed where the method leaves them", ("C-04", "S-08"), ("graph",), _managed,
          where=copies),
)
