"""journal verify, journal salvage: whether the journal is whole, and what can be gone on with when it is not.

The words of the commands; what they do is `engine.run.journal` and `engine.run.salvage`.
"""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator

from engine import app
from engine.contract import ExitCode
from engine.report import moment, next_step, problem, shorten, wrap
from engine.run.lease import holder
from engine.run.salvage import Salvage, examine
from engine.screen import Screen
from engine.world import World

#: Lost records that are shown by themselves; of more, only how many.
LOST_SHOWN_MAX = 20

Again = Callable[..., str]


def command(arguments: Namespace, place: app.Place, by: Callable[[], str], screen: Screen, world: World,
            again: Again) -> int:
    """The command `journal verify` or `journal salvage`. Raises Refusal: the journal, locked."""
    if arguments.what == "salvage":
        return _salvage(arguments, place, by(), screen, world, again)
    journal = app.reading(place, world)
    try:
        found = journal.verify()
        last, digest = journal.head()
    finally:
        journal.close()
    if found:
        for each in found:
            screen.error(problem(each))
        return ExitCode.JOURNAL
    screen.line(f"{last:,} records; every digest is right; the last one is {digest.hex()}.")
    screen.lines(next_step(again("status")))
    return ExitCode.CONVERGED


def _salvage(arguments: Namespace, place: app.Place, by: str, screen: Screen, world: World, again: Again) -> int:
    folder, clock = place.state / app.migration_name(place.inventory), app.clock_for(place, world)
    found = examine(folder, clock, holder(world))
    if not found.why and not found.lost:
        screen.line(f"{found.keep:,} records; every digest is right: there is nothing to salvage.")
        screen.lines(next_step(again("status")))
        return ExitCode.CONVERGED
    screen.lines(preview(found))
    screen.line()
    agreed = arguments.yes or (
        screen.interactive and screen.ask("Go on with these records? Only the answer yes does:").lower() == "yes")
    if not agreed:
        screen.line("Nothing was written.")
        screen.lines(next_step(again("journal", "salvage", "--yes")))
        return ExitCode.PARKED_ON_PERSON
    kept = found.write(clock, by)
    screen.line(f"Salvaged: {found.keep:,} records. The old file is kept as")
    screen.line(f"    {kept}")
    if not found.lost and found.keep:
        screen.lines(next_step(again("plan")))
        return ExitCode.CONVERGED
    screen.lines(wrap("Everything is on hold until somebody has looked at what was lost. The plan reads the world and "
                      "shows what it would do again; letters and approvals that were lost it would ask for or send "
                      "again. When it is right:"))
    screen.line(f"    {again('release', '--reason', 'TEXT')}")
    screen.lines(next_step(again("plan")))
    return ExitCode.CONVERGED


def preview(found: Salvage) -> Iterator[str]:
    """What would be kept and what not."""
    yield from wrap(f"{found.path}: {found.why or 'damaged'}.")
    yield f"Sound: {_records(found.keep)}, in one chain from the first."
    if not found.lost:
        yield "Nothing behind them can be read; whether there was more, nobody can tell." if found.why else ""
        return
    kinds = Counter(each.kind or "unreadable" for each in found.lost)
    yield from wrap(f"Lost: {_records(len(found.lost))} that can still be read behind them: "
                    + ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())) + ".")
    if found.acts:
        yield "What was or may have been done by those:"
    for each in found.acts[:LOST_SHOWN_MAX]:
        when = moment(each.at) if each.at else "some time"
        yield shorten(f"  {each.seq:>7,}  {when}  {each.kind or '?':8} {each.row}  {each.task}", 100)
    if len(found.acts) > LOST_SHOWN_MAX:
        yield f"  and {len(found.acts) - LOST_SHOWN_MAX:,} more"


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"
