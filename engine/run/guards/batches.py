"""A batch is removed, or started again."""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.run.guards.ground import CONVERTS, MOVES, Act, Ground, Verdict, first, seconds

#: B-42: other mail systems may take this long to see the new MX.
MX_SETTLE_MIN = timedelta(hours=72)


def batch_removed(ground: Ground, act: Act, now: datetime) -> Verdict:
    """B-42..B-46, S-34, S1', S2, S2': the waits are over, nothing is left at the source, the history is kept."""
    guard, batch = "batch_removed", act.row
    if not ground.facts.proven("batch_history", batch):
        return Verdict(guard, False, "its history is not exported: removing it deletes the history (B-55)")
    mailboxes = ground.related("batches", batch, "mailboxes")
    if not mailboxes:
        return Verdict(guard, False, "no mailbox of the batch is known: an empty list proves nothing")
    idle = [address for address in mailboxes if ground.has_a_person(address)
            and not ground.facts.waived("mailboxes", address, "mailbox_use", *MOVES)
            and not ground.facts.proven("mailbox_use", address)]
    if idle:
        return Verdict(guard, False, first(idle, "mailbox(es) whose people do not work in the cloud (B-44)"))
    for domain in ground.related("batches", batch, "domains"):
        if late := came_late(ground, domain):
            return Verdict(guard, False, first(
                late, f"mailbox(es) of {domain} made at the source since MX moved are not copied to the cloud (S1')"))
    if ground.staged:
        for address in mailboxes:
            if left := left_behind(ground, address):
                return Verdict(guard, False, left)
    else:
        ends = []
        for domain in ground.related("batches", batch, "domains"):
            moved = ground.facts.held_since("mx_switch", domain)
            if moved is None:
                return Verdict(guard, False, f"MX of {domain} has not moved")
            old = (ground.facts.before("mx_ttl", domain) or {}).get("ttl")
            ends.append(moved + max(MX_SETTLE_MIN, timedelta(seconds=seconds(old))))
        if not ends:
            return Verdict(guard, False, "no domain of the batch is known: an empty list proves nothing")
        end = max(ends)
        if now < end:
            return Verdict(guard, False, "other mail systems may still use the old MX (B-42)", end)
        users = ground.site.exchange_online.migration_users()
        for address in mailboxes:
            if ground.facts.waived("mailboxes", address, *MOVES):
                continue
            user = users.get(address)
            if user is None or user.last_success is None or user.last_success < end:
                return Verdict(guard, False, f"{address} was not synchronised after the wait's end (B-45)",
                               now + timedelta(hours=1))
    if not ground.facts.approved(act.template, act.row):
        return Verdict(guard, False, "no valid approval stands before it")
    return Verdict(guard, True, "the waits are over, every mailbox is done, the history is exported; approved")


def came_late(ground: Ground, domain: str) -> list[str]:
    """S1': mailboxes of the domain, planned or not, that were made at the source after its MX moved, and stand there
    still without a copy in the cloud. What was there before, the switch has asked for; of unknown age is not before."""
    moved = ground.facts.held_since("mx_switch", domain)
    if moved is None:
        return []
    users = ground.site.exchange_online.migration_users()
    return [address for address, found in ground.site.directory.mailboxes().items()
            if domain in found.domains and found.is_mailbox and (found.created is None or found.created > moved)
            and (address not in users or users[address].last_success is None)
            and not ground.facts.waived("mailboxes", address, *MOVES)]


def left_behind(ground: Ground, address: str) -> str:
    """S-34: why something of a staged mailbox may be left at the source; "" when nothing can be.

    (b) it is converted, and forwarding is proven; or (c), once MX has moved: it forwards, and its source holds no
    more items than were compared. That it was synced after the switch, as the page says for cutover, is no proof:
    the service does not synchronise a staged batch again, and a restart moves the stamp without copying.
    """
    if ground.facts.waived("mailboxes", address, *MOVES):
        return ""
    found = ground.site.directory.mailboxes().get(address)
    if found is None or not found.is_mailbox:
        if ground.facts.proven("delivery_probe", address) or ground.facts.waived("mailboxes", address, *CONVERTS):
            return ""
        return f"forwarding of {address} is not proven yet (S-34 b)"
    why = f"{address} is not converted yet (S-34 b); a later sync is not waited for, a staged batch has none"
    moved = [ground.facts.held_since("mx_switch", each) for each in ground.related("mailboxes", address, "domains")]
    if not moved or None in moved or not ground.facts.waived("mailboxes", address, *CONVERTS):
        return why
    if found.target_address is None:
        return f"{address} is not converted, and its mail is not forwarded (S-34 c)"
    compared = ground.facts.last("item_counts", address)
    now = ground.site.ews.count(address).items
    held = (compared or {}).get("source_items")
    if not isinstance(held, int) or now > held:
        return (f"{address} is not converted, and its source may hold newer items: {now} now, {held} were "
                "compared (S-34 c)")
    return ""


def batch_restarted(ground: Ground, act: Act, now: datetime) -> Verdict:
    """S-34: a batch with a converted mailbox is never restarted: it would fail it, and move the stamp."""
    guard = "batch_restarted"
    if not ground.staged:
        return Verdict(guard, True, "a cutover converts nothing")
    batches = [act.row] if act.template.kind == "batches" else list(
        ground.related("mailboxes", act.row, "batches"))
    source = ground.site.directory.mailboxes()
    for address in (each for batch in batches for each in ground.related("batches", batch, "mailboxes")):
        found = source.get(address)
        if found is not None and not found.is_mailbox:
            return Verdict(guard, False, f"{address} of the same batch is converted already; "
                                         "put the mailbox into a batch of its own")
    return Verdict(guard, True, "no mailbox of the batch is converted")
