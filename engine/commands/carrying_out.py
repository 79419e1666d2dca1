"""Carry a playbook out, or go on with it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.arguments import pairs
from engine.commands.beforehand import plan, selected
from engine.commands.standing import standing_of
from engine.commands.where import again, place, state_folder
from engine.contract import ExitCode, Outcome, Plan, Refusal
from engine.screen import Screen
from engine.world import World

if TYPE_CHECKING:
    from engine.app import Place


def apply(arguments: Namespace, screen: Screen, world: World) -> int:
    """Carries the playbook out, or goes on with it."""
    if arguments.check:
        return plan(arguments, screen, world)
    from engine import app, plan_file, report
    from engine.progress import progress
    from engine.telling import Telling

    saved = None
    if plan_file.is_plan_file(Path(arguments.playbook)):
        kept = plan_file.read(Path(arguments.playbook))
        saved = kept.plan
        arguments.playbook = str(kept.playbook)
        arguments.inventory = arguments.inventory or str(kept.inventory)
        arguments.extra_vars = [f"{name}={value}" for name, value in kept.extra_vars.items()] + arguments.extra_vars
    migration = app.load(place(arguments, world), pairs(arguments.extra_vars), world)
    state_folder(migration.place)
    listener = Telling(
        progress(screen, migration.program.templates, json=arguments.json,
                 standing=lambda: standing_of(migration.place, world)),
        migration, screen.error, lambda name, *more: again(name, arguments, *more))
    chosen, consent = selected(arguments, migration.program), _consent(arguments, screen)
    try:
        outcome, by_task = app.apply(migration, chosen, wait=arguments.wait, listener=listener, consent=consent,
                                     saved=saved)
    except Refusal as refusal:
        if refusal.exit_code in (ExitCode.REFUSED, ExitCode.STALE, ExitCode.SOME_FAILED):
            listener.refused(refusal.problem)
        raise
    finally:
        listener.close()
    following = _following(arguments, outcome, migration.place, world)
    if arguments.json:
        screen.json({"event": "outcome", **vars(outcome), "next_command": following})
    else:
        screen.line()
        screen.lines(report.recap([{"play": each.play} for each in migration.program.templates], by_task))
        screen.lines(report.outcome(outcome))
        screen.lines(report.next_step(following))
    return outcome.exit_code


def _consent(arguments: Namespace, screen: Screen) -> Callable[[Plan], bool]:
    """Asks for what the preview shows. Where nobody can be asked, only `--yes` consents."""
    def consent(plan: Plan) -> bool:
        from engine import report

        if not arguments.json:
            screen.lines(report.plan_text(plan, diff=arguments.diff))
            screen.line()
        if arguments.yes:
            return True
        if not screen.interactive:
            screen.error(["Nobody can be asked here: only what was consented before is done. --yes consents."])
        return screen.ask("Carry this out? Only the answer yes does:").lower() == "yes"

    return consent


def _following(arguments: Namespace, outcome: Outcome, where: Place, world: World) -> str:
    from engine import pages

    if outcome.exit_code == ExitCode.SOME_FAILED:
        retry = pages.retry_of(standing_of(where, world), lambda name, *more: again(name, arguments, *more))
        return retry or again("status", arguments)
    if outcome.exit_code == ExitCode.CONVERGED:
        return again("report", arguments, "--html", "dossier.html")
    if outcome.exit_code == ExitCode.PARKED_ON_TIME:
        return again("apply", arguments, "--wait")
    return again("status", arguments)
