"""What delivery_probe and mail share: a letter with a mark, and the look for that mark in the tenant's trace."""

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
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def problems(identity: str, to: str) -> Iterator[str]:
    if not _ID.fullmatch(identity):
        yield "id: lower-case letters, digits and hyphens, at most 40, for it stands in the Message-ID"
    if to.count("@") != 1 or any(each.isspace() or each in '<>,;:"' for each in to):
        yield "to: one address, as in anna@contoso.com"


def arrival(site: Site, message_id: str) -> TraceRow | None:
    """The latest trace of a letter in the tenant; None: none within TRACE_DAYS.

    The time is cut to the day, so that all letters share one listing.
    """
    today = site.world.clock.now().astimezone(UTC).date()
    since = datetime.combine(today - timedelta(days=TRACE_DAYS), datetime.min.time(), UTC)
    return site.exchange_online.message_trace(since).get(message_id)
