"""What delivery_probe, mail and mail_delivery share: a letter's mark, and the look for it in the tenant's trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from engine.connections import Site

if TYPE_CHECKING:
    from engine.connections.migration_objects import TraceRow

#: How far back a letter in doubt is looked for: a weekend's standstill, and a day.
TRACE_DAYS = 4
#: The tenant keeps its trace this long (Get-MessageTraceV2).
TRACE_DAYS_MAX = 90
#: What the trace says of a message that will not come any more ("Message trace in the modern Exchange admin center").
FAILED = frozenset({"failed", "quarantined", "filteredasspam"})
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def problems(identity: str, to: str) -> Iterator[str]:
    if not _ID.fullmatch(identity):
        yield "id: lower-case letters, digits and hyphens, at most 40, for it stands in the Message-ID"
    if to.count("@") != 1 or any(each.isspace() or each in '<>,;:"' for each in to):
        yield "to: one address, as in anna@contoso.com"


def door(site: Site, through: str) -> str:
    """graph or smtp: what a letter is sent through. Graph first where it has a sender (SMTP AUTH with a password ends
    for tenants that do not keep it: message centre MC786329)."""
    if through in ("graph", "smtp"):
        return through
    return "graph" if site.has("graph") and site.graph.sender else "smtp"


def message_id(site: Site, through: str, kind: str, identity: str, to: str) -> str:
    """The mark of a letter sent through that door."""
    return str(site.client(door(site, through)).message_id(kind, identity, to))


def arrival(site: Site, message_id: str, sent_at: datetime | None = None) -> TraceRow | None:
    """The latest trace of a letter in the tenant; None: none since it was sent, or within TRACE_DAYS.

    The time is cut to the day, so that all letters share one listing.
    """
    start = sent_at or site.world.clock.now() - timedelta(days=TRACE_DAYS)
    since = datetime.combine(start.astimezone(UTC).date(), datetime.min.time(), UTC)
    return site.exchange_online.message_trace(since).get(message_id)


def moment(text: str) -> datetime | None:
    """A moment with its zone, in UTC; None where the text is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None
