"""A mailbox is converted, connected again, or loses its licence."""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.run.guards.ground import Act, Ground, Verdict

#: How long a database keeps a disconnected mailbox by default ("Deleted mailbox retention").
MAILBOX_RETENTION = timedelta(days=30)


def mailbox_converted(ground: Ground, act: Act, now: datetime) -> Verdict:
    """S-27, S3, J9: synced, counts compared, properties saved; one first, then twenty, then all."""
    guard, address = "mailbox_converted", act.module.key().partition("/")[2]
    user = ground.site.exchange_online.migration_users().get(address)
    if user is None or user.state != "synced":
        return Verdict(guard, False, f"the copy is not complete ({user.status if user else 'no migration user'})")
    found = ground.site.exchange_online.recipients().get(address)
    if found is None or found.type != "mailbox":
        return Verdict(guard, False, "there is no cloud mailbox under the same address")
    if not ground.facts.proven("item_counts", address) and not ground.facts.waived("mailboxes", address, "item_counts"):
        return Verdict(guard, False, "the item counts of source and cloud were not compared")
    if not (act.diff.before or {}).get("saved"):
        return Verdict(guard, False, "its properties could not be saved before the conversion")
    if not ground.facts.approved(act.template, act.row):
        return Verdict(guard, False, "no valid approval stands before it")
    return Verdict(guard, True, "synced, counts compared, properties saved; approved")


def licence_removed(ground: Ground, act: Act, now: datetime) -> Verdict:
    """B-47, B-48: a mailbox without a licence is disabled after the grace period.

    An approval that stands before the task was for giving the licence: taking it back wants a word of its own.
    """
    if act.approved if act.back else ground.facts.approved(act.template, act.row):
        return Verdict("licence_removed", True, "approved")
    product = act.module.key().rpartition("/")[2]
    return Verdict("licence_removed", False, "without a licence the cloud mailbox is disabled after 30 days, and "
                   "nobody has approved that (B-48)", question=f"Take {product} away from {act.row}?")


def mailbox_reconnected(ground: Ground, act: Act, now: datetime) -> Verdict:
    """S-27, U: a disconnected mailbox is deleted when its retention ends."""
    guard = "mailbox_reconnected"
    if act.since is None:
        return Verdict(guard, None, "nobody knows when it was converted")
    end = act.since + MAILBOX_RETENTION
    if now >= end:
        return Verdict(guard, False, f"converted {act.since:%Y-%m-%d}: its mailbox was kept until {end:%Y-%m-%d}, "
                                     "unless the database keeps deleted mailboxes longer")
    return Verdict(guard, True, f"the disconnected mailbox is kept until {end:%Y-%m-%d}")
