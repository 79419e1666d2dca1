"""Where a migration stands, why, and what happened: from the journal, and what the service fails."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.arguments import to_write
from engine.commands.where import again, known_row, place, program_of, speaker
from engine.contract import ExitCode
from engine.screen import Screen
from engine.world import World

if TYPE_CHECKING:
    from engine.app import Place
    from engine.run.standing import Standing


def standing_of(where: Place, world: World) -> Standing:
    """Where the migration stands by its journal."""
    from engine import app
    from engine.run import standing

    journal = app.reading(where, world)
    try:
        return standing.status(journal, app.clock_for(where, world).now())
    finally:
        journal.close()


def status(arguments: Namespace, screen: Screen, world: World) -> int:
    """Where everything stands."""
    from engine import pages, report

    found = standing_of(place(arguments, world), world)
    if arguments.json:
        screen.json(pages.status_mapping(found))
    elif arguments.csv:
        screen.lines(pages.status_csv(found))
    else:
        screen.lines(pages.status_text(found, lambda name, *more: again(name, arguments, *more)))
        screen.lines(report.next_step(pages.next_command(found, lambda name, *more: again(name, arguments, *more))))
    return ExitCode.CONVERGED


def why(arguments: Namespace, screen: Screen, world: World) -> int:
    """Why a row does or does not move."""
    from engine import app, pages, report, why
    from engine.run import standing

    where = place(arguments, world)
    journal = app.reading(where, world)
    try:
        program = program_of(where, arguments, world)
        known_row(journal, program, arguments.row)
        if arguments.json or arguments.task:
            found = standing.why(journal, arguments.row, arguments.task, app.clock_for(where, world).now())
            if arguments.json:
                screen.json(found)
            else:
                screen.lines(pages.why_text(arguments.row, found))
        else:
            screen.lines(why.page(arguments.row, journal, program,
                                  lambda name, *more: again(name, arguments, *more)))
    finally:
        journal.close()
    if not arguments.json:
        screen.lines(report.next_step(again("status", arguments)))
    return ExitCode.CONVERGED


def history(arguments: Namespace, screen: Screen, world: World) -> int:
    """All that happened, oldest first."""
    from engine import app, pages, report
    from engine.run import standing

    where = place(arguments, world)
    journal = app.reading(where, world)
    empty = True
    try:
        if arguments.row:
            known_row(journal, program_of(where, arguments, world), arguments.row)
        for record in standing.history(journal, arguments.row):
            empty = False
            if arguments.json:
                screen.json(pages.record_mapping(record))
            else:
                screen.lines(pages.record_lines(record))
    finally:
        journal.close()
    if not arguments.json:
        if empty:
            screen.line("Nothing has happened yet.")
        screen.lines(report.next_step(again("status", arguments)))
    return ExitCode.CONVERGED


def failures(arguments: Namespace, screen: Screen, world: World) -> int:
    """What the service fails or has left out."""
    from engine import app, failures

    migration = app.load(place(arguments, world), {}, world)
    return failures.command(arguments, migration, screen, lambda name, *more: again(name, arguments, *more))


def report(arguments: Namespace, screen: Screen, world: World) -> int:
    """The dossier, one HTML file."""
    from engine import app, pages, report
    from engine.dossier import dossier_html
    from engine.run import standing
    from engine.world import write_whole

    where = place(arguments, world)
    journal, now = app.reading(where, world), app.clock_for(where, world).now()
    try:
        status = pages.status_mapping(standing.status(journal, now))
        told = [pages.record_mapping(record) for record in standing.history(journal)]
    finally:
        journal.close()
    with to_write(Path(arguments.html)):
        write_whole(Path(arguments.html), dossier_html(
            app.migration_name(where.inventory), now, status, told).encode())
    screen.line(f"{arguments.html}: {len(told):,} events.")
    screen.lines(report.next_step(again("status", arguments)))
    return ExitCode.CONVERGED


def journal(arguments: Namespace, screen: Screen, world: World) -> int:
    """Whether the journal is whole; what of a damaged one is sound."""
    from engine import journal

    return journal.command(arguments, place(arguments, world), lambda: speaker(arguments, world), screen, world,
                           lambda name, *more: again(name, arguments, *more))
