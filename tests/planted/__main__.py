"""Plants one bug after the other in a copy of the tree; a rig that does not know of it has to find it.

    python -m tests.planted                     # all of them
    python -m tests.planted "no pause"          # those whose name has this in it

First every rig that is needed must be silent on the tree as it stands. Prints a line for each bug and found / planted;
ends with 1 when one was not found.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.planted.bugs import BUGS, RIGS, Bug
from tests.requirements.teeth import copied

SECONDS_MAX = 900


def run(copy: Path, rig: str, only: str = "") -> tuple[int, str]:
    """A rig's exit code in a copy of the tree, and what it said."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV_"))}
    # a file changed twice within a second, to the same length, must not be met as it was compiled before
    environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-m", *RIGS[rig], *(("-k", only) if only else ())]
    try:
        ended = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return 1, f"not ended after {SECONDS_MAX} seconds"
    return ended.returncode, ended.stdout + ended.stderr


def found(copy: Path, bug: Bug) -> tuple[bool, str]:
    """Whether the rig finds the bug, and how."""
    place = copy / bug.file
    text = place.read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        return False, f"its place in {bug.file} is there {text.count(bug.old)} times"
    broken = text.replace(bug.old, bug.new)
    compile(broken, bug.file, "exec")  # a file that cannot be read is found by anything
    place.write_text(broken, encoding="utf-8")
    try:
        code, said = run(copy, bug.rig, bug.only)
    finally:
        place.write_text(text, encoding="utf-8")
    told = [line for line in said.splitlines() if line.strip().startswith(("violation", "FAILED", "ERROR", "E  "))]
    # 1: the rig says so; a rig that could not do its work at all (usage, nothing collected) has found nothing
    return code == 1, (told or said.strip().splitlines() or [""])[0].strip()[:150]


def main(words: list[str]) -> int:
    bugs = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    began, missed = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="mailmove-planted-") as temporary:
        copy = copied(Path(temporary))
        for rig in dict.fromkeys(bug.rig for bug in bugs):
            code, said = run(copy, rig)
            print(f"{rig:8} as the tree stands: {'silent' if code == 0 else f'ended with {code}'}", flush=True)
            if code:
                print(said[-2000:])
                return 1
        for bug in bugs:
            start = time.monotonic()
            there, how = found(copy, bug)
            missed += not there
            print(f"{'found ' if there else 'MISSED'} {bug.of:8} {bug.name}  ({bug.rig}, "
                  f"{time.monotonic() - start:.0f} s)\n        {how}", flush=True)
    print(f"{len(bugs) - missed} found / {len(bugs)} planted, {time.monotonic() - began:.0f} seconds")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
