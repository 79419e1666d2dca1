"""Arguments in, exit code out: the console entry point, and how each way to fail is told.

With `commands.py`, the one place that prints, prompts or exits. Rooms are imported by the command that needs them:
`mailmove --version` pays for none. A bug is not a Problem: it keeps its traceback and ends with 1.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from engine.world import World

PROGRAM = "mailmove"


class Terminated(BaseException):
    """SIGTERM: like KeyboardInterrupt, it unwinds through every `finally`, so that the journal is left whole."""


def run() -> NoReturn:
    """The console entry point."""
    def end(number: int, frame: object) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no arrow shows an escape instead of ending the run.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if sys.argv[1:] == ["--version"]:
        sys.exit(_version(sys.stdout))
    from engine.world import World

    _keep_to_ourselves()
    try:
        code = main(sys.argv[1:], sys.stdout, sys.stderr, World())
    except Exception as bug:
        _crashed(bug)
        code = 1  # contract.ExitCode.BUG, without paying for what may be what broke
    sys.exit(code)


def _keep_to_ourselves() -> None:
    """Nothing but `Screen` speaks: no library's log, no warning with a line of its call, no image of our memory."""
    import contextlib
    import logging
    import threading

    logging.getLogger().addHandler(logging.NullHandler())
    logging.captureWarnings(True)
    threading.excepthook = lambda broken: _crashed(broken.exc_value) if broken.exc_value else None
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _crashed(bug: BaseException) -> None:
    """A bug keeps its traceback. Of the values in it none is shown that is a secret (G1)."""
    import traceback

    from engine.connections.redaction import redacted
    from engine.screen import Screen

    told = "".join(traceback.format_exception(bug))
    Screen(sys.stdout, sys.stderr).error(redacted(told, length_max=len(told)).splitlines())


def _version(stdout: TextIO) -> int:
    from importlib.metadata import version

    stdout.write(f"{PROGRAM} {version('mailmove')}\n")
    return 0


def main(argv: Sequence[str], stdout: TextIO, stderr: TextIO, world: World) -> int:
    """One command, in this process. Returns its exit code (contract.ExitCode); only a bug is raised."""
    import shlex

    from engine import commands, report
    from engine.contract import ExitCode, Refusal
    from engine.screen import Screen

    if list(argv) == ["--version"]:
        return _version(stdout)
    screen = Screen(stdout, stderr)
    try:
        return int(commands.command(argv, screen, world))
    except Refusal as refusal:
        screen.error(report.problem(refusal.problem))
        return int(refusal.exit_code)
    except (KeyboardInterrupt, Terminated) as stopped:
        terminated = isinstance(stopped, Terminated)
        screen.error([f"{'Terminated' if terminated else 'Interrupted'}; the journal is whole. "
                      "The same command goes on from here:", f"    {shlex.join([PROGRAM, *argv])}"])
        return int(ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader has gone (`| head`): nothing is left to say. The interpreter's last flush must not complain.
        import os

        if stdout is sys.stdout:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.CONVERGED)
