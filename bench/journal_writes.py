"""Fails every write, sync and removal of a journal in turn, as a full or broken disk would; needs strace.

    python -m bench.journal_writes                    # every call, each way
    python -m bench.journal_writes --draw 12 --seed 1 # drawn: the short form

A process makes a journal, takes the lease and appends; what it prints has been shown as done. Its N-th system call of
one kind fails with ENOSPC or EIO, once or from then on; and with a limit on the size of files, writes end in the middle
(a short write). Afterwards everything shown must be in the journal, the journal must be sound, and the next process
must be able to go on. Prints violations / cases; ends with 1 when any went wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine.contract import Refusal
from engine.run.journal import Journal, Record
from engine.world import SystemClock

ROOT = Path(__file__).parents[1]
#: SQLite's own system calls on Linux, and how each may fail.
CALLS = (("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("fsync", "EIO"), ("fdatasync", "EIO"), ("unlink", "EIO"),
         ("link", "ENOSPC"))
#: Steps of the limit on the size of files, bytes.
LIMIT_STEP = 1_000
#: No journal of this rig is larger.
LIMITS_MAX = 60_000
#: No process of this rig removes so many files.
UNLINKS_MAX = 20
APPENDS = 4

WRITER = f"""
import os, sys
from pathlib import Path
from engine.contract import Refusal
from engine.run.journal import Journal, Record
from engine.world import SystemClock
limit = int(sys.argv[2])
if limit:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    journal = Journal.open(Path(sys.argv[1]), SystemClock(), create=True)
    journal.hold({{"who": "child", "host": "h", "pid": str(os.getpid()), "since": "now"}})
    for turn in range({APPENDS}):
        last = journal.append([Record("intent", row=str(turn), body={{"x": "y" * 2000}}) for _ in range(3)])
        os.writev(1, [b"shown %d\\n" % last])
    journal.heartbeat()
    journal.release()
    os.writev(1, [b"whole\\n"])
except Refusal as refusal:
    os.writev(1, [b"refused %d\\n" % refusal.exit_code])
"""


@dataclass(frozen=True)
class Case:
    """One way to fail: a call, its error, which of them, whether all after it fail too; or a size limit."""

    call: str
    error: str
    at: int
    on: bool = False

    def __str__(self) -> str:
        return f"limit of {self.at:,} bytes" if self.call == "limit" else (
            f"{self.call} {self.at}{' and all after it' if self.on else ''}: {self.error}")


def run(folder: Path, case: Case) -> tuple[list[str], bool]:
    """What the process printed, and whether it ended whole: then the fault did not come about."""
    words = [sys.executable, "-c", WRITER, str(folder), str(case.at if case.call == "limit" else 0)]
    if case.call != "limit":
        fault = f"inject={case.call}:error={case.error}:when={case.at}{'+' if case.on else ''}"
        words = ["strace", "-qq", "-o", os.devnull, "-e", f"trace={case.call}", "-e", fault, *words]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    said = ended.stdout.splitlines()
    if ended.returncode or not said:
        said.append(f"ended with {ended.returncode}: {ended.stderr.strip()[-200:]}")
    return said, "whole" in said


def violations(folder: Path, said: list[str]) -> Iterator[str]:
    """What was shown and is not there, and what else is not as promised."""
    last = said[-1] if said else ""
    if not (last == "whole" or last.startswith("refused 9")):
        yield f"it did not end as a journal that cannot be written: {last}"
    shown = max((int(line.split()[1]) for line in said if line.startswith("shown")), default=0)
    try:
        with closing(Journal.open(folder, SystemClock(), create=True)) as journal:
            yield from (problem.found for problem in journal.verify())
            found = journal.head()[0]
            if found < shown:
                yield f"record {shown} was shown as done, and the journal ends at {found}"
            if found % 3:
                yield f"half an append is there: the journal ends at {found}"
            journal.hold({"who": "next", "host": "h", "pid": str(os.getpid()), "since": "now"})
            if journal.append([Record("run")]) != found + 1 or journal.verify():
                yield "the next process cannot go on"
    except Refusal as refusal:
        yield f"the next process is refused: {refusal.problem.found}"


def calls(call: str, error: str, on: bool) -> Iterator[Case]:
    at = 0
    while True:
        at += 1
        yield Case(call, error, at, on)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--draw", type=int, default=0, help="so many cases, drawn (default: all)")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    began, done, bad = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory(prefix="mailmove-writes-") as temporary:
        def judge(case: Case) -> bool:
            """False when the fault did not come about: no case."""
            nonlocal done, bad
            folder = Path(temporary) / str(done)
            said, whole = run(folder, case)
            if whole and case.call != "unlink":  # a removal that fails is done again by SQLite, or by the next one
                return False
            done += 1
            wrong = list(violations(folder, said))
            bad += bool(wrong)
            for line in wrong:
                print(f"violation: {case}: {line}", flush=True)
            return not whole or case.at < UNLINKS_MAX

        limits = [Case("limit", "EFBIG", at) for at in range(LIMIT_STEP, LIMITS_MAX, LIMIT_STEP)]
        if given.draw:
            drawn = random.Random(given.seed)
            for _ in range(given.draw):
                call, error = drawn.choice(CALLS)
                judge(drawn.choice([Case(call, error, drawn.randint(1, 60), drawn.random() < 0.5),
                                    drawn.choice(limits)]))
        else:
            for call, error in CALLS:
                for on in (False, True):
                    for case in calls(call, error, on):
                        if not judge(case):
                            break
            for case in limits:
                judge(case)
    print(f"{bad} violations / {done} cases, seed {given.seed}, {time.monotonic() - began:.0f} seconds")
    return 1 if bad or not done else 0


if __name__ == "__main__":
    sys.exit(main())
