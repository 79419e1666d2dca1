"""Many command lines in one process, as if typed one after the other: `python -m tests.hostile.driver JOB.json`.

The job is a list of mappings with `words` and, where wanted, `user` (who the environment says is at work). Prints what
the commands print, their number before and their exit code after each; a traceback of a bug goes to the same terminal.
"""

from __future__ import annotations

import json
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from engine.cli import main
from engine.world import StillClock, World


def run() -> int:
    bugs = 0
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # as `engine.cli.run` does
    for number, job in enumerate(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))):
        sys.stdout.write(f"@{number}\n")
        sys.stdout.flush()
        world = World(environment={"USER": job.get("user", "maria")})
        if job.get("still"):
            world.clock = StillClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
        try:
            code = int(main(job["words"], sys.stdout, sys.stderr, world))
            sys.stdout.flush()
            sys.stdout.write(f"[exit {code}]\n")
        except Exception:
            bugs += 1
            sys.stdout.write(ascii(traceback.format_exc()[-1500:]) + "\nBUG\n")
        sys.stdout.flush()
        sys.stderr.flush()
    return min(bugs, 100)


sys.exit(run())
