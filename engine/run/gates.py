"""May this row go now? Change windows, and the decisions only a person can make: approvals and checklists.

Approvals are a record of who decided what, not access control: whoever may write the journal may approve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from engine.contract import Program, State, Template, Window
from engine.modules.base import Module
from engine.run.fold import Fold, Word

if TYPE_CHECKING:
    from engine.run.stand import Stand

#: An approval that serves no window is good for this long.
APPROVAL_HOURS = timedelta(hours=24)


def _spans(window: Window, around: datetime) -> list[tuple[datetime, datetime]]:
    """Openings of a window from the day before `around` to 15 days after it, in UTC."""
    zone = ZoneInfo(window.timezone)
    opens, closes = time.fromisoformat(window.opens), time.fromisoformat(window.closes)
    today = around.astimezone(zone).date()
    found = []
    for offset in range(-1, 16):
        day: date = today + timedelta(days=offset)
        if day.weekday() not in window.days:
            continue
        start = datetime.combine(day, opens, zone).astimezone(UTC)
        last = day if closes > opens else day + timedelta(days=1)
        found.append((start, datetime.combine(last, closes, zone).astimezone(UTC)))
    return found


def opens_at(window: Window, now: datetime) -> datetime | None:
    """When acts may start: None means now. A freeze takes its time out of every window; times are UTC.

    Wall-clock times that a change of the clocks skips count by the time before it, those that come twice by their
    first coming: a window never lasts longer for it.
    """
    for start, end in _spans(window, now):
        begin = max(start, now)
        for freeze_start, freeze_end in sorted(window.freezes):
            if freeze_start <= begin < freeze_end:
                begin = freeze_end
        if begin < end:
            return None if begin == now else begin
    return now + timedelta(days=1)  # closed for a fortnight: look again tomorrow


def closes_at(window: Window, now: datetime) -> datetime:
    """The end of the opening that `now` is in, or of the next one."""
    begin = opens_at(window, now) or now
    return next((end for start, end in _spans(window, begin) if start <= begin < end), begin)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person is asked, as the journal and the screen show it."""

    what: str  # approval | checklist
    reason: str
    body: Mapping[str, Any]


def ask(template: Template, module: Module, program: Program, now: datetime) -> Ask:
    """The question a row puts. An approval holds until the end of the window it serves, else 24 hours."""
    what = template.module_name
    body = {each.name: getattr(module, each.name) for each in fields(module)}
    window = _served(template, program)
    if what == "approval":
        expires = closes_at(window, now) if window else None
        body["holds_until"] = expires
        return Ask(what, str(body.get("question", "")), body)
    return Ask(what, f"{len(body.get('items', ()))} item(s) to confirm", body)


def _served(template: Template, program: Program) -> Window | None:
    """The window of the task that directly follows on the same rows."""
    for other in program.templates:
        if other.window and any(edge.upstream == template.index and edge.how == "same" for edge in other.edges):
            return program.windows[other.window]
    return None


def answer(template: Template, identity: bytes, fold: Fold, program: Program, now: datetime) -> State | None:
    """What a person has said to it: the state to record, or None while the question is open or expired."""
    if template.module_name == "approval":
        word = fold.approval(identity)
        if word is None or now > holds_until(template, word, program):
            return None
        return {"granted": True, "by": word.by, "at": word.at, "reason": word.reason}
    word = fold.resolved(identity)
    if word is None:
        return None
    return {"done": True, "by": word.by, "at": word.at, "evidence": str(word.body.get("evidence") or "")}


def holds_until(template: Template, word: Word, program: Program) -> datetime:
    """When an approval that was given ends, unless what it was given for has begun by then."""
    window = _served(template, program)
    return word.until or (closes_at(window, word.at) if window else word.at + APPROVAL_HOURS)


def outlasted(stand: Stand, template: Template, row: str, until: datetime | None) -> str:
    """What a wait until then means for the approvals before the act: those that end sooner are asked for again.

    A clause that follows the reason of the wait; "" where every approval holds, or was given for what has begun.
    """
    for above, slot in stand.approvals_before(template, row) if until is not None else ():
        identity = stand.approval_identity(above, slot)
        word = stand.fold.approval(identity) if identity is not None else None
        if word is None or stand.spent(above, slot):
            continue
        end = holds_until(above, word, stand.program)
        if until is not None and end < until:
            return (f"; «{above.name}» is approved until {end:%Y-%m-%d %H:%M} UTC only, and is asked for again when "
                    "the wait is over")
    return ""
