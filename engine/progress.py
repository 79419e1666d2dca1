"""How a run looks while it runs: a live table for a person, plain lines for a log, JSON lines for a program.

Each is a listener of the run's events (docs/events.md). It only listens: an error in here would end the run, so it
takes what the events hold and expects nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

from engine.contract import Event, Template
from engine.report import COLUMNS, PHASES, SIGNS, moment, named, shorten, with_remedy, wrap
from engine.screen import Screen, visible

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

    from engine.run.standing import Standing

#: Of one kind of event and one task, this many rows are named in a plain line.
ROWS_NAMED = 3


class Progress(Protocol):
    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


def progress(screen: Screen, templates: Sequence[Template], *, json: bool,
             standing: Callable[[], Standing]) -> Progress:
    """The listener that fits: JSON lines when asked for, a live table on a terminal, else plain lines.

    `standing` reads the journal anew.
    """
    if json:
        return JsonLines(screen)
    return LiveTable(screen, templates, standing) if screen.interactive else Lines(screen)


class JsonLines:
    """One event a line: `{"event": kind, "at": …, "task": …, "row": …, …}`."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def __call__(self, event: Event) -> None:
        said: dict[str, Any] = {"event": event.kind, "at": event.at}
        if event.task:
            said["task"] = event.task
        if event.row:
            said["row"] = event.row
        fields = {name: asdict(each) if is_dataclass(each) and not isinstance(each, type) else each
                  for name, each in event.fields.items()}
        self.screen.json({**fields, **said})

    def close(self) -> None:
        pass


class Lines:
    """What was done and what stopped, one line for equal neighbours: 238 licences are one line, not 238."""

    def __init__(self, screen: Screen, *, parked: bool = True) -> None:
        self.screen = screen
        self._parked = parked
        self._same: tuple[str, str, str] | None = None
        self._rows: list[str] = []
        self._count = 0

    def __call__(self, event: Event) -> None:
        fields = event.fields
        if event.kind == "acted":
            self._add(event, SIGNS.get(str(fields.get("verb")), "~"), "")
        elif event.kind == "failed":
            self._add(event, "failed:", with_remedy(str(fields.get("reason", "")), str(fields.get("remedy") or "")))
        elif event.kind == "parked" and self._parked:
            until = fields.get("until")
            reason = str(fields.get("reason") or fields.get("what") or "")
            self._add(event, str(fields.get("phase") or "parked") + ":",
                      reason + (f" (until {moment(until)})" if until else ""))
        elif event.kind in BEFOREHAND:
            self.screen.lines(BEFOREHAND[event.kind](event))
        elif event.kind == "waiting":
            self._flush()
            until = fields.get("until")
            self._say(event, "waiting " + (f"until {moment(until)}" if until else "for a person's word"))
        elif event.kind in ("run_ended", "consent_needed"):
            self._flush()

    def close(self) -> None:
        self._flush()

    def _add(self, event: Event, sign: str, reason: str) -> None:
        same = (sign, event.task, reason)
        if same != self._same:
            self._flush()
            self._same = same
        self._count += 1
        if len(self._rows) < ROWS_NAMED:
            self._rows.append(event.row)

    def _flush(self) -> None:
        if self._same is None:
            return
        sign, task, reason = self._same
        head = f"  {sign} {task_name(task)}  "
        text = head + named(self._rows, self._count, min(50, COLUMNS - len(head)))
        self.screen.line(text if not reason or len(text) + len(reason) > COLUMNS - 3 else f"{text}   {reason}")
        if reason and len(text) + len(reason) > COLUMNS - 3:
            self.screen.lines(wrap(reason, "        "))
        self._same, self._rows, self._count = None, [], 0

    def _say(self, event: Event, text: str) -> None:
        self.screen.line(f"{moment(event.at)}  {text}")


class LiveTable:
    """A live table of plays by phase with the last acts under it, drawn by rich on the terminal.

    Events tell what happens between two waits, and not every row that is found well: at each wait the table is
    counted anew from the journal, so that what it shows while nothing moves is what `status` says.
    """

    def __init__(self, screen: Screen, templates: Sequence[Template], standing: Callable[[], Standing]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._standing = standing
        self._plays = {f"{each.play} / {each.name}": each.play for each in templates}
        self._counts: dict[str, dict[str, int]] = {}
        self._stopped: dict[tuple[str, str], str] = {}
        self._failed: dict[tuple[str, str], Event] = {}
        self._last: list[str] = []
        self._state = ""
        self._console = Console(file=screen.out, highlight=False, markup=False)
        #: the table goes when the run ends; what failed, and what would help, must not go with it
        self.screen = screen
        self._live: Live = Live(console=self._console, refresh_per_second=4, get_renderable=self._draw, transient=True)

    def __call__(self, event: Event) -> None:
        place = (event.task, event.row)
        if event.kind == "run_started":
            self._count()
            self._live.start()  # not before: until then the plan is shown and consent is asked for
        elif event.kind == "settled":
            self._failed.pop(place, None)
            self._move(event, "done")
        elif event.kind in ("failed", "parked"):
            self._move(event, str(event.fields.get("phase") or "failed"))
            self._stopped[place] = str(event.fields.get("phase") or "failed")
            self._failed.pop(place, None)
            if event.kind == "failed":
                self._failed[place] = event
        if event.kind in ("acted", "failed", "parked"):
            sign = SIGNS.get(str(event.fields.get("verb")), "!")
            reason = f": {event.fields['reason']}" if event.fields.get("reason") else ""
            self._last = [*self._last[-5:], visible(f"{sign} {event.row}  {task_name(event.task)}{reason}")]
        elif event.kind in BEFOREHAND:
            self.screen.lines(BEFOREHAND[event.kind](event))
        elif event.kind == "waiting":
            self._count()
            until, persons = event.fields.get("until"), event.fields.get("persons")
            waits = [f"until {moment(until)}"] if until else []
            waits += ["for a person (mailmove status)"] if persons else []
            self._state = f"Waiting {' or '.join(waits)}. Ctrl-C ends it; nothing is lost."
        elif event.kind == "waited":
            self._state = ""

    def close(self) -> None:
        self._live.stop()
        told = Lines(self.screen)
        for event in self._failed.values():
            told(event)
        told.close()

    def _count(self) -> None:
        found = self._standing()
        counts: dict[str, dict[str, int]] = {}
        for task in found.tasks:
            play = counts.setdefault(task.play, {})
            for phase, number in task.counts.items():
                phase = {"superseded": "done", "ready": "pending", "acting": "pending"}.get(phase, phase)
                play[phase] = play.get(phase, 0) + number
        self._counts = counts
        self._stopped = {(each.task, each.row): each.phase for each in found.parked}

    def _move(self, event: Event, phase: str) -> None:
        """The row of a task leaves the phase it was counted in."""
        counts = self._counts.setdefault(self._plays.get(event.task, event.task), {})
        before = self._stopped.pop((event.task, event.row), "pending")
        counts[before] = max(0, counts.get(before, 0) - 1)
        counts[phase] = counts.get(phase, 0) + 1

    def _draw(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        width, height = self._console.size
        # the event thread may add to what is drawn here
        plays = {play: dict(phases) for play, phases in [*self._counts.items()]}
        heads = [name for name in PHASES if any(phases.get(name) for phases in plays.values())]
        last = [*self._last, self._state] if self._state else [*self._last]
        lines_max = max(3, height - 2 - min(len(last), 4))
        if len(plays) > lines_max:  # those in which something moves
            plays = {play: phases for play, phases in plays.items() if len([*filter(None, phases.values())]) > 1}
        drawn = Table(box=None, pad_edge=False)
        drawn.add_column("", no_wrap=True, overflow="ellipsis")
        for name in heads:
            drawn.add_column(name, justify="right", no_wrap=True)
        shown = [*plays.items()][:lines_max]
        for play, phases in shown:
            drawn.add_row(Text(visible(play)), *(f"{phases[name]:,}" if phases.get(name) else "·" for name in heads))
        room = max(1, height - len(shown) - 2)
        return Group(drawn, Text("\n".join(shorten(line, width - 1) for line in last[-room:])))


def watched(event: Event) -> Iterator[str]:
    """Why nothing happens yet: another holder is watched for another sign of life (docs/design.md, The journal)."""
    by = event.fields["holder"]
    yield from wrap(
        f"{moment(event.at)}  {by.get('who', 'somebody')} on {by.get('host', 'an unknown host')}, process "
        f"{by.get('pid', '?')}, holds this migration, and its last sign of life is of a time that has not come yet. "
        f"Watched for another one until {event.fields['until']:%H:%M:%S} UTC.")


def asked_again(event: Event) -> Iterator[str]:
    """Why nothing happens yet: the preflight could not tell what might forbid the run."""
    first, *others = event.fields["untold"]
    more = f" (and {len(others)} more)" if others else ""
    yield from wrap(f"{moment(event.at)}  {first}{more}. Asked again at {event.fields['until']:%H:%M:%S} UTC. "
                    "Ctrl-C ends it; nothing was changed.")


#: What is told before a run has begun, and its table.
BEFOREHAND = {"watching": watched, "asking_again": asked_again}


def task_name(label: str) -> str:
    """The task's own name of a label «play / task»."""
    return label.rpartition(" / ")[2]

