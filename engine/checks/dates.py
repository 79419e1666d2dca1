"""The dates that age, from one file with "as of" and source: `engine/data/dates.yml` (today.md, section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from engine.data import table


@dataclass(frozen=True, slots=True)
class Dated:
    """One thing that ends or changes on a day. `at` None: it has ended, the day is not known to us."""

    id: str
    what: str
    at: date | None
    then: str
    source: str


def dated() -> tuple[Dated, ...]:
    """Everything with a day, in order of time."""
    found = [Dated(each["id"], each["what"], each["at"], each["then"], each["source"]) for each in table()["dates"]]
    return tuple(sorted(found, key=lambda each: each.at or date.min))


def support_ended(release: str, now: datetime) -> str:
    """`Exchange 2013 (since 2023-04-11)` when Microsoft no longer supports it, else ""."""
    known = table()["exchange"].get(release)
    if known is None:
        return ""
    ended = known["support_ends"]
    if ended is None:
        return f"Exchange {release}"
    return f"Exchange {release} (since {ended})" if ended <= now.date() else ""


def soon(now: datetime, within: timedelta) -> tuple[Dated, ...]:
    """What ends within that time, or has ended as long ago at most."""
    return tuple(each for each in dated() if each.at is not None and
                 abs(datetime(each.at.year, each.at.month, each.at.day, tzinfo=UTC) - now) <= within)
