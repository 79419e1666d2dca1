"""Licences: seats needed, had and to be ordered (B-47), and the 30 days after which an unlicensed mailbox is disabled.

B-48, S-07, S17. The days are counted from the earliest possible start, the creation of the user: pages and reports
differ on what starts them, and a day too early costs nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from engine.checks.base import Check, Look, copies, counted, mailboxes, note, warn
from engine.contract import Finding

GRACE = timedelta(days=30)
#: S17: nobody passes this day without an alarm.
ALARM = timedelta(days=25)
#: Days left from which it is told again.
STAGES = (1, 3, 7, 14)
SOON = timedelta(days=STAGES[-1])


def _seats(look: Look) -> Iterator[Finding]:
    skus, users = look.site.graph.skus(), look.site.graph.users()
    needed: Counter[str] = Counter()
    for address, row in look.planned.items():
        product = str(row.get("sku") or "")
        user = users.get(address)
        known = skus.get(product)
        if product and not (user is not None and known is not None and known.id in user.licences):
            needed[product] += 1
    for product, number in sorted(needed.items()):
        known = skus.get(product)
        if known is None:
            usable = sorted(name for name, sku in skus.items() if sku.mailbox)
            yield warn(f"{product} is needed for {mailboxes(number)}; the tenant has no such product (B-47)",
                       f"It has {', '.join(usable)}." if usable else "It has none with a mailbox: order one.")
        elif known.free < number:
            yield warn(f"{product}: {number:,} needed, {known.free:,} of {known.enabled:,} free (B-47)",
                       f"Order {counted(number - known.free, 'seat')} before the copy ends.")


def _days(look: Look) -> Iterator[Finding]:
    users, cloud = look.site.graph.users(), look.site.exchange_online.recipients()
    licensed = look.site.graph.licensed_addresses()
    stages: dict[int, list[tuple[datetime, str]]] = defaultdict(list)
    early: list[str] = []
    for address, row in look.planned.items():
        user, there = users.get(address), cloud.get(address)
        if not row.get("sku") or user is None or user.created is None or address in licensed:
            continue
        end = user.created + GRACE
        left = end - look.now
        if there is None or there.type != "mailbox":
            if look.now - user.created > GRACE - SOON:
                early.append(address)
            continue
        if left <= timedelta(0):
            stages[0].append((end, address))
            continue
        stage = next((days for days in STAGES if left <= timedelta(days=days)), None)
        if stage is not None:
            stages[stage].append((end, address))
    for stage, found in sorted(stages.items()):
        found.sort()
        first, rows = found[0][0], [address for _, address in found]
        if stage == 0:
            yield warn(f"ALARM: {mailboxes(len(rows))} unlicensed for more than 30 days, the first since "
                       f"{first:%Y-%m-%d}: disabled, or about to be (B-48)", "License them now.", rows)
        else:
            alarm = "ALARM: " if timedelta(days=stage) <= GRACE - ALARM or any(
                look.now >= end - (GRACE - ALARM) for end, _ in found) else ""
            yield warn(f"{alarm}{mailboxes(len(rows))} unlicensed with {counted(stage, 'day')} left at most; the "
                       f"first is disabled on {first:%Y-%m-%d} (B-48)",
                       "License them now; buy seats if none are free.", rows)
    if early:
        yield note(f"{mailboxes(len(early))} not copied yet whose user was made more than {(GRACE - SOON).days} days "
                   "ago: the 30 days may be counted from the user, not from the mailbox (S-07)",
                   "License them at once when they are copied.", sorted(early))


CHECKS = (
    Check("seats", "There are licences for everybody", ("B-47",), ("graph",), _seats, where=copies),
    Check("licence_days", "No mailbox comes near the end of its 30 days without a licence", ("B-48", "S-07"),
          ("graph", "exchange_online"), _days, where=copies),
)
