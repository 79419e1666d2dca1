"""A person's words, each with its name and reason."""

from __future__ import annotations

from argparse import Namespace

from engine.arguments import pairs
from engine.commands.where import again, place, program_of, speaker, state_folder
from engine.contract import ExitCode
from engine.screen import Screen
from engine.world import World


def word(arguments: Namespace, screen: Screen, world: World) -> int:
    """Approve, waive, retry, resolve, override, hold, release."""
    from engine import app, report
    from engine.run import words

    by, reason = speaker(arguments, world), arguments.reason
    rows = tuple(arguments.rows)
    task = getattr(arguments, "task", "")
    where = place(arguments, world)
    if arguments.command == "hold":
        state_folder(where)
    journal = app.speaking(where, world, create=arguments.command == "hold")
    try:
        if arguments.command == "approve":
            said = words.approve(journal, task=task, rows=rows, by=by, reason=reason, typed=arguments.typed or "")
        elif arguments.command == "waive":
            program = (app.load(where, {}, world).program if arguments.with_followers
                       else program_of(where, arguments, world))  # without it, only what follows cannot be told
            said = words.waive(journal, task=task, rows=rows, by=by, reason=reason, program=program,
                               with_followers=arguments.with_followers)
        elif arguments.command == "retry":
            said = words.retry(journal, task=task, rows=rows, by=by, reason=reason)
        elif arguments.command == "resolve":
            said = words.resolve(journal, task=task, rows=rows, by=by, reason=reason,
                                 done=arguments.done, evidence=arguments.evidence)
        elif arguments.command == "override":
            said = words.override(journal, guard=task, rows=rows, by=by, reason=reason)
        elif arguments.command == "hold":
            from engine.language import inventory as inventories

            found = inventories.load(place(arguments, world).inventory) if rows else None
            known = {key for kind in found.kinds() for key in found.keys(kind)} if found else None
            said = words.hold(journal, rows=rows, by=by, reason=reason, known=known)
        else:
            said = words.release(journal, rows=rows, by=by, reason=reason)
    finally:
        journal.close()
    if arguments.json:
        screen.json({"word": arguments.command, "count": said.count, "rows": said.rows, "by": by}
                    | ({"followers": said.followers} if arguments.command == "waive" else {}))
    else:
        past = {"approve": "Approved", "waive": "Waived", "retry": "To be tried again", "resolve": "Noted",
                "override": "Overridden", "hold": "On hold", "release": "Released"}[arguments.command]
        name, *more = said.then or ("apply",)
        shown = report.named(said.rows, max(said.count, len(said.rows)), 60) if said.rows else "everything"
        screen.line(f"{past} by {by}: {shown}.")
        if said.followers:
            screen.line("Waived with it, for want of what it would have told:" if arguments.with_followers else
                        "These need what it would have told, and will be blocked; --with-followers waives them too:")
            screen.lines(f"  {name}" for name in said.followers)
        screen.lines(report.next_step(again(name, arguments, *more)))
    return ExitCode.CONVERGED


def undo(arguments: Namespace, screen: Screen, world: World) -> int:
    """Takes back what was done to rows."""
    from engine import app
    from engine import undo as page

    migration = app.load(place(arguments, world), pairs(arguments.extra_vars), world)
    return page.command(arguments, migration, lambda: speaker(arguments, world), screen, world,
                        lambda name, *more: again(name, arguments, *more))


def adopt(arguments: Namespace, screen: Screen, world: World) -> int:
    """Takes over what a migration begun by hand has left."""
    from engine import adopting, app

    migration = app.load(place(arguments, world), pairs(arguments.extra_vars), world)
    if not arguments.plan:
        state_folder(migration.place)
    return adopting.command(arguments, migration, lambda: speaker(arguments, world), screen,
                            lambda name, *more: again(name, arguments, *more))
