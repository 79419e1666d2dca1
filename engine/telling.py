"""tell: by mail and webhook, when a run parks on a person, fails, or waits longer than planned.

A listener beside the screen's: it looks at the journal when the run begins to wait and when it ends, and tells what has
been added since the last word – once, whichever run finds it. What could not be told is said on the screen and tried
again at the next look; it never stops the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Any, Protocol

from engine import app, pages
from engine.connections import Site
from engine.contract import Event, Fault, Problem, Refusal
from engine.report import shorten
from engine.run import standing
from engine.run.journal import Record
from engine.run.standing import ParkedRow, Standing
from engine.screen import visible

#: A row that waits for the service for longer than this is told, unless the inventory says `late_after`.
LATE_AFTER = timedelta(hours=24)
#: What time alone does not mend.
TOLD_PHASES = ("failed", "asking", "handed", "blocked")
#: Waits that nobody has planned: the plan's calendar does not show their end.
UNPLANNED = frozenset({"service", "fault", "doubt"})
#: New rows that are named; of more, only how many.
NAMED_MAX = 20
#: Of more open rows than this only how many there are is remembered, not which.
REMEMBERED_MAX = 2_000

Again = Callable[..., str]


class Closing(Protocol):
    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Telling:
    """Passes every event on to `listener`; tells where the inventory has `tell:` or a connection `webhook`."""

    def __init__(self, listener: Closing, migration: app.Migration, complain: Callable[[Sequence[str]], None],
                 again: Again) -> None:
        self._listener = listener
        self._migration = migration
        self._complain = complain
        self._again = again
        tell = migration.inventory.tell
        self.mail: tuple[str, ...] = tell.get("mail", ())
        self.webhook = "webhook" in migration.inventory.connections
        self.late_after: timedelta = tell.get("late_after", LATE_AFTER)
        self._open: dict[str, str] = {}
        self._body: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        self._listener(event)
        if event.kind in ("waiting", "run_ended"):
            self.look()

    def close(self) -> None:
        self._listener.close()

    def refused(self, problem: Problem) -> None:
        """The run was refused and has ended: that is told as well, once for the same words."""
        self.look(problem)

    def look(self, problem: Problem | None = None) -> None:
        """Tells what is new since the last word. Raises nothing that a remote side or the journal may bring about."""
        if not (self.mail or self.webhook):
            return
        try:
            with closing(app.reading(self._migration.place, self._migration.world)) as journal:
                self._now = self._migration.world.clock.now()
                found = standing.status(journal, self._now)
                told = [record.body for record in journal.records(kinds=("told",))]
            new = self._new(found, told[-1] if told else {}, problem)
            if new is None:
                return
            self._send(new, found, problem)
        except Refusal as refusal:
            self._complain([f"Nobody was told: {refusal.problem.found}"])

    def _new(self, found: Standing, last: Mapping[str, Any], problem: Problem | None) -> list[str] | None:
        """The lines that were not there at the last word, None for none. Remembers nothing yet."""
        self._open = {_mark(phase, row): line for phase, row, line in open_rows(found, self.late_after, self._now)}
        if problem is not None:
            line = f"{problem.summary}: {problem.found}"
            self._open[_mark("refused", line)] = line
        marks = sorted(self._open)
        self._body = {"digest": blake2b("".join(marks).encode(), digest_size=8).hexdigest(), "count": len(marks),
                      "marks": tuple(marks) if len(marks) <= REMEMBERED_MAX else ()}
        known = set(last.get("marks") or ())
        if self._body["digest"] == last.get("digest") or not marks:
            return None
        new = [line for mark, line in self._open.items() if mark not in known]
        return new or None

    def _send(self, new: Sequence[str], found: Standing, problem: Problem | None) -> None:
        name = str(self._migration.program.settings["migration"])
        subject = visible(shorten(f"mailmove {name}: {_summary(found, self.late_after, self._now, problem)}", 150))
        text = "".join(f"{visible(line)}\n" for line in [*_body(new), "", *pages.status_text(found, self._again), "",
                              self._again("status")])
        mark = f"{self._now:%Y%m%d%H%M}.{self._body['digest']}"
        ways: list[tuple[str, Callable[[Site], None]]] = [
            (f"mail to {to}", partial(_mail, to=to, subject=subject, text=text, mark=mark)) for to in self.mail]
        if self.webhook:
            ways.append(("webhook", partial(_post, document={
                "migration": name, "text": f"{subject}\n{text}", "new": [visible(line) for line in new[:NAMED_MAX]],
                "open": self._body["count"]})))
        # of its own: the run's connections belong to the run's threads, and end with it
        site = Site(self._migration.inventory.connections, self._migration.site.settings, self._migration.world)
        reached, missed = [], []
        try:
            for way, send in ways:
                try:
                    send(site)
                    reached.append(way)
                except Fault as fault:
                    missed.append(f"Not told by {way}: {fault}")
        finally:
            site.close()
        if missed:
            self._complain(missed)
        if reached:
            with closing(app.speaking(self._migration.place, self._migration.world)) as journal:
                journal.say(Record("told", body={**self._body, "by": tuple(reached), "missed": len(missed)}))


def open_rows(found: Standing, late_after: timedelta, now: datetime) -> Iterator[tuple[str, str, str]]:
    """What wants somebody: phase, which row of which task, and a line for people."""
    for each in found.parked:
        phase = each.phase if each.phase in TOLD_PHASES else "late" if _late(each, now, late_after) else ""
        if phase and not each.answer:
            yield phase, f"{each.task}\0{each.row}", shorten(
                f"{phase:8} {each.row}  «{each.task.rpartition(' / ')[2]}»: {each.reason}", 200)


def _late(row: ParkedRow, now: datetime, late_after: timedelta) -> bool:
    return row.phase == "waiting" and row.what in UNPLANNED and now - row.since > late_after


def _mark(phase: str, row: str) -> str:
    return blake2b(f"{phase}\0{row}".encode(), digest_size=6).hexdigest()


def _summary(found: Standing, late_after: timedelta, now: datetime, problem: Problem | None) -> str:
    counts = Counter(phase for phase, _, _ in open_rows(found, late_after, now))
    words = {"failed": "failed", "asking": "ask a person", "handed": "handed to a person", "blocked": "blocked",
             "late": "wait longer than planned"}
    told = [f"{counts[phase]:,} {word}" for phase, word in words.items() if counts[phase]]
    return ", ".join([*([problem.summary] if problem else []), *told])


def _body(new: Sequence[str]) -> Iterator[str]:
    yield "New since the last word:"
    yield from (f"  {line}" for line in new[:NAMED_MAX])
    if len(new) > NAMED_MAX:
        yield f"  and {len(new) - NAMED_MAX:,} more"


def _post(site: Site, document: Mapping[str, Any]) -> None:
    site.client("webhook").post(document)


def _mail(site: Site, to: str, subject: str, text: str, mark: str) -> None:
    smtp = site.smtp
    smtp.send(smtp.letter(to, subject, text, smtp.message_id("tell", mark, to)))
