"""The commands, one function each: arguments to values, values to the screen, and the next command to type.

Each returns its exit code. Rooms are imported by the command that needs them.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.arguments import PROGRAM, HelpAsked, parse, parser
from engine.commands import beforehand, carrying_out, speaking, standing
from engine.commands.where import again, complete
from engine.contract import ExitCode, Fault, Invalid, Refusal
from engine.screen import Screen
from engine.world import World

COMMANDS: dict[str, Callable[[Namespace, Screen, World], int]] = {
    "init": beforehand.init, "check": beforehand.check, "doctor": beforehand.doctor, "plan": beforehand.plan,
    "apply": carrying_out.apply, "status": standing.status, "why": standing.why, "history": standing.history,
    "failures": standing.failures, "report": standing.report, "journal": standing.journal,
    **dict.fromkeys(("approve", "waive", "retry", "resolve", "override", "hold", "release"), speaking.word),
    "undo": speaking.undo, "adopt": speaking.adopt, "rehearse": beforehand.rehearse, "inventory": beforehand.inventory,
    "vars": beforehand.variables, "doc": beforehand.doc, "schema": beforehand.schema,
}


def command(argv: Sequence[str], screen: Screen, world: World) -> int:
    """Runs one command line. Raises Refusal, always with a command to type next."""
    try:
        arguments = parse(argv)
    except HelpAsked as asked:
        screen.lines(str(asked).splitlines())
        return ExitCode.CONVERGED
    if not arguments.command:
        from engine import report

        screen.lines(parser()[0].format_help().splitlines())
        screen.lines(report.next_step(f"{PROGRAM} init DIR --type staged"))
        return ExitCode.USAGE
    try:
        return COMMANDS[arguments.command](arguments, screen, world)
    except Refusal as refusal:
        following = refusal.problem.next_command or f"{PROGRAM} {arguments.command} --help"
        problem = replace(refusal.problem, next_command=complete(following, arguments))
        raise Refusal(refusal.exit_code, problem) from refusal
    except Invalid as invalid:
        from engine import report

        if arguments.command == "check":
            arguments.playbook = arguments.files[0]
        screen.error(report.problems(invalid.problems, again("check", arguments)))
        return ExitCode.INVALID
    except Fault as fault:
        from engine import report

        screen.error([*report.fault(fault), f"    {again('doctor', arguments)}"])
        return ExitCode.SOME_FAILED
