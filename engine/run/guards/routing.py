"""Mail and clients go to the cloud, or back: MX and Autodiscover."""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.run.guards.ground import CONVERTS, MOVES, Act, Ground, Verdict, first, seconds

#: C-16 and S1: a cutover mailbox must have been synchronised this recently when MX moves.
SYNC_AGE_MAX = timedelta(hours=48)


def mx_to_cloud(ground: Ground, act: Act, now: datetime) -> Verdict:
    """B-38, B-41, S-35, S1: everybody of the domain is in the cloud, and the old TTL has run out."""
    guard, domain = "mx_to_cloud", ground.domain(act)
    left = not_ready(ground, domain, now, converted=ground.staged)
    if left is None:
        return Verdict(guard, False, f"the source lists no mailbox of {domain}: an empty list proves nothing")
    if left:
        return Verdict(guard, False, first(left, f"mailbox(es) of {domain} are not ready"))
    before = ground.facts.before("mx_ttl", act.row)
    lowered = ground.facts.held_since("mx_ttl", act.row)
    if before is not None and lowered is not None:
        due = lowered + timedelta(seconds=seconds(before.get("ttl")))
        if now < due:
            return Verdict(guard, False, "the old TTL has not run out in other people's caches", due)
    if not ground.facts.approved(act.template, act.row):
        return Verdict(guard, False, "no valid approval stands before it (an `approval` task of the same row)")
    return Verdict(guard, True, "every mailbox of the domain is in the cloud; the old TTL has run out; approved")


def mx_back(ground: Ground, act: Act, now: datetime) -> Verdict:
    """S15: the way back is open while no batch of the domain has been removed."""
    batches = ground.site.exchange_online.migration_batches()
    gone = [name for name in ground.related("domains", ground.domain(act), "batches") if name not in batches]
    if gone:
        return Verdict("mx_back", False, f"batch {gone[0]} is removed: mail could not be brought back")
    if not ground.facts.approved(act.template, act.row):
        return Verdict("mx_back", False, "no valid approval stands before it")
    return Verdict("mx_back", True, "no batch of the domain is removed; approved")


def autodiscover_moved(ground: Ground, act: Act, now: datetime) -> Verdict:
    """B-49, S19: only when the last mailbox of the domain has moved."""
    guard, domain = "autodiscover_moved", ground.domain(act)
    left = not_ready(ground, domain, now, converted=ground.staged, sync_age=False)
    if left is None:
        return Verdict(guard, False, f"the source lists no mailbox of {domain}: an empty list proves nothing")
    if left:
        return Verdict(guard, False, first(left, f"mailbox(es) of {domain} would lose Outlook"))
    return Verdict(guard, True, "every mailbox of the domain has moved")


def not_ready(ground: Ground, domain: str, now: datetime, *, converted: bool,
              sync_age: bool = True) -> list[str] | None:
    """Why the first few recipients of a domain are not ready; [] all are; None: the source lists nobody.

    The source's own complete listing counts, planned or not: a new hire re-opens the domain (S1').
    """
    source = ground.site.directory.mailboxes()
    ours = [found for found in source.values() if domain in found.domains]
    if not ours:
        return None
    users = ground.site.exchange_online.migration_users()
    cloud = ground.site.exchange_online.recipients()
    licensed = ground.site.graph.licensed_addresses()
    waived = ground.facts.waived
    left = []
    for found in ours:
        address = found.address
        if ground.facts.waived("mailboxes", address, *MOVES):
            continue
        user, there = users.get(address), cloud.get(address)
        if there is None or there.type != "mailbox":
            left.append(f"{address}: no cloud mailbox")
        elif converted and found.is_mailbox and not waived("mailboxes", address, *CONVERTS):
            left.append(f"{address}: not converted")
        elif not converted and (user is None or user.state != "synced") and sync_age:
            left.append(f"{address}: not synced")
        elif not converted and sync_age and (user is None or user.last_success is None
                                             or now - user.last_success > SYNC_AGE_MAX):
            left.append(f"{address}: last synced more than 48 hours ago")
        elif address not in licensed and ground.needs_licence(address) and not waived(
                "mailboxes", address, "licence"):
            left.append(f"{address}: no licence (licences come before MX: C-22)")
        elif converted and not ground.facts.proven("delivery_probe", address) and not waived(
                "mailboxes", address, *CONVERTS, "delivery_probe"):
            left.append(f"{address}: forwarding not proven")
        elif not ground.facts.proven("item_counts", address) and not waived("mailboxes", address, "item_counts"):
            left.append(f"{address}: counts not compared")
    for kind in ("groups", "recipients"):
        for address in ground.related("domains", domain, kind):
            if address not in cloud and not ground.facts.waived(kind, address):
                left.append(f"{address}: not in the cloud")
    return left
