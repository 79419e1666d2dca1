"""Which playbook, inventory and state a command line means, who speaks, and the command to type next with the same."""

from __future__ import annotations

import shlex
from argparse import Namespace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.arguments import HERE, PROGRAM, as_typed, did_you_mean, pairs, parser
from engine.contract import ExitCode, Invalid, Problem, Program, Refusal
from engine.world import World

if TYPE_CHECKING:
    from engine.app import Place
    from engine.run.journal import Journal

#: Commands whose own argument is the playbook; the others name it by `-p`.
PLAYBOOK_FIRST = frozenset({"check", "plan", "apply", "rehearse"})

#: Commands that are about no playbook.
BARE = frozenset({"init", "doc", "schema"})


@cache
def _names() -> frozenset[str]:
    return frozenset(parser()[1])


def place(arguments: Namespace, world: World) -> Place:
    """The playbook, its inventory and its state folder."""
    from engine import app

    return app.place(Path(arguments.playbook), Path(arguments.inventory) if arguments.inventory else None,
                     Path(arguments.state) if arguments.state else None, world)


def state_folder(where: Place) -> None:
    """Makes the folder of all journals. Raises Refusal (exit 9) where the disk says no."""
    try:
        where.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(ExitCode.JOURNAL, Problem(
            "the folder of the journals cannot be made", found=f"{where.state}: {error.strerror or error}.",
            remedy="Name another with --state or MAILMOVE_STATE.", next_command=f"{PROGRAM} doctor")) from None


def again(name: str, arguments: Namespace, *more: str) -> str:
    """A command to type next, with the same playbook, inventory and state."""
    command = as_typed([PROGRAM, name, *more])
    return command if _here(arguments) else complete(command, arguments)


def _here(arguments: Namespace) -> bool:
    return getattr(arguments, "playbook", HERE) == HERE and not any(
        getattr(arguments, name, None) for name in ("inventory", "state", "extra_vars"))


def complete(command: str, arguments: Namespace) -> str:
    """The command with the playbook, inventory and state this one was given; other rooms cannot know them."""
    words = command.split(" ")
    if words[0] != PROGRAM or len(words) < 2 or words[1] not in _names() or words[1] in BARE or (
            "--help" in words or "PLAYBOOK" in words):
        return command
    options: list[str] = []
    playbook = getattr(arguments, "playbook", HERE)
    if words[1] in PLAYBOOK_FIRST:
        if playbook != HERE and str(playbook) not in command:
            options.append(str(playbook))
    elif playbook != HERE:
        options += ["-p", str(playbook)]
    for option in ("inventory", "state"):
        if found := getattr(arguments, option, None):
            options += ["-i" if option == "inventory" else "--state", str(found)]
    for each in getattr(arguments, "extra_vars", None) or () if words[1] in ("plan", "apply", "check") else ():
        options += ["-e", each]
    place = 3 if words[1] in ("inventory", "journal") else 2
    return " ".join([*words[:place], *([shlex.join(options)] if options else []), *words[place:]])


def speaker(arguments: Namespace, world: World) -> str:
    """Who speaks: `--by`, else the signed-in user. A word without a name is no decision."""
    if (name := arguments.by or world.user) != "unknown":
        return str(name)
    raise Refusal(ExitCode.USAGE, Problem("nobody says so", found="A decision needs a name.", remedy="Add --by NAME.",
                                          next_command=f"{PROGRAM} {arguments.command} --help"))


def program_of(where: Place, arguments: Namespace, world: World) -> Program | None:
    """What the files say, or None while they cannot be used: what has happened can be told without them."""
    from engine import app

    try:
        return app.load(where, pairs(getattr(arguments, "extra_vars", ())), world).program
    except Invalid:
        return None


def known_row(journal: Journal, program: Program | None, row: str) -> None:
    """Raises Refusal (exit 2) for a name that is no row and that no record holds."""
    from engine.run import standing

    rows = program.rows if program else None
    known = [key for kind in rows.kinds() for key in rows.keys(kind)] if rows else []
    if row in known or any(True for _ in journal.rows(names=(row,))):
        return
    raise Refusal(ExitCode.USAGE, Problem(
        "unknown row", found=f'Neither the inventory nor the journal has a row "{row}".',
        remedy=did_you_mean(row, [*known, *standing.names(journal)]), next_command=f"{PROGRAM} inventory list"))
