"""Races of forked workers for one journal and its lease: nothing is done twice, nothing by one who has lost the lease.

    python -m bench.journal_races --races 10000 --seed 1       # --folder /dev/shm: without waiting for a disk

In each race two to eight processes open one journal at the same moment, and each tries to do the same five acts as the
engine does: hold the lease, read what is done, intent, the lease confirmed, the act (a line in a file, which counts as
the world), result. By the seed some die between any two steps, some stand still for longer than the lease – their clock
and everybody's moves on meanwhile – and wake up in the middle of it. Afterwards a last process finishes what is open.
Prints violations / races; ends with 1 when any went wrong.
"""

from __future__ import annotations

import argparse
import fcntl
import mmap
import os
import random
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine.contract import ExitCode, Refusal
from engine.run.journal import Journal, Record
from engine.run.lease import LEASE
from engine.world import StillClock

START = datetime(2026, 3, 6, 18, 0, tzinfo=UTC)
ACTS = 5
#: How a worker ends that was replaced although its lease had not run out.
TOO_EARLY = 3
WORKERS_MAX = 8
#: How long one stands still who stands still.
ASLEEP = LEASE + timedelta(seconds=10)


class Shared:
    """A clock that all processes of a race see and move, and the world: a file of acts, each a line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seconds = mmap.mmap(-1, 8)

    def now(self) -> datetime:
        return START + timedelta(seconds=struct.unpack("d", self._seconds[:8])[0])

    def pass_time(self, span: timedelta) -> None:
        """Time passes while nobody is between its confirmation and its act, a moment far shorter than the lease."""
        with self._moment(fcntl.LOCK_EX):
            self._seconds[:8] = struct.pack("d", struct.unpack("d", self._seconds[:8])[0] + span.total_seconds())

    def act(self, number: int, fence: int, confirm: Callable[[], None]) -> None:
        with self._moment(fcntl.LOCK_SH):
            confirm()
            with (self.folder / "world").open("ab", buffering=0) as world:
                world.write(b"%d %d\n" % (number, fence))

    @contextmanager
    def _moment(self, how: int) -> Iterator[None]:
        """Each process needs a lock of its own: one opened before the fork would be one lock."""
        with (self.folder / "moment").open("w") as lock:
            fcntl.flock(lock, how)
            yield

    def acts(self) -> list[tuple[int, int]]:
        with suppress(FileNotFoundError):
            return [(int(line.split()[0]), int(line.split()[1]))
                    for line in (self.folder / "world").read_text(encoding="ascii").splitlines()]
        return []


class Clock(StillClock):
    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def now(self) -> datetime:
        return self._shared.now()


class Worker:
    """One process that wants to do the acts, as an engine does. `fate` is drawn from by every step."""

    def __init__(self, shared: Shared, number: int, fate: random.Random | None) -> None:
        self.shared, self.number, self.fate = shared, number, fate
        self.fence = 0

    def work(self) -> int:
        with closing(Journal.open(self.shared.folder / "m", Clock(self.shared), create=True)) as journal:
            self.step()
            held = self.shared.now()  # at the earliest: somebody may let time pass before this one reads it again
            self.fence = journal.hold({"who": f"worker {self.number}", "host": "h", "machine": "race",
                                       "pid": str(os.getpid()), "since": "now"})
            try:
                self.step()
                for number in range(ACTS):
                    self.once(journal, number)
                journal.release()
            except Refusal:
                return TOO_EARLY if self.shared.now() - held < LEASE else int(ExitCode.LOCKED)
        return 0

    def once(self, journal: Journal, number: int) -> None:
        key = f"act/{number}"
        kinds = [record.kind for record in journal.records() if record.key == key]
        if "settled" in kinds:
            return
        done = "intent" in kinds and any(each == number for each, _ in self.shared.acts())  # in doubt: look first
        self.step()
        if not done:
            journal.append([Record("intent", key=key)])
            self.step()
            self.shared.act(number, self.fence, journal.confirm)
            self.step()
            journal.append([Record("result", key=key)])
            self.step()
        journal.append([Record("settled", key=key)])
        self.step()

    def step(self) -> None:
        """Between any two steps a process may die, or stand still for longer than its lease."""
        if self.fate is None:
            return
        chance = self.fate.random()
        if chance < 0.04:
            os.kill(os.getpid(), 9)
        elif chance < 0.10:
            self.shared.pass_time(ASLEEP)
            time.sleep(self.fate.random() * 0.01)


def race(folder: Path, seed: int, ends: Counter[str]) -> list[str]:
    """One race; what went wrong."""
    fate = random.Random(seed)
    shared = Shared(folder)
    ready, gun = os.pipe()
    children = []
    for number in range(fate.randint(2, WORKERS_MAX)):
        own = random.Random(fate.random())
        child = os.fork()
        if child == 0:
            os.close(gun)
            os.read(ready, 1)  # closed by the parent: all at the same moment
            code = 1
            try:
                code = Worker(shared, number, own).work()
            except Refusal as refusal:
                code = int(refusal.exit_code)
            except BaseException as error:
                print(f"race {seed}: {type(error).__name__}: {error}", flush=True)
            finally:
                os._exit(code)
        children.append(child)
    os.close(ready)
    os.close(gun)
    wrong = []
    for child in children:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ends[{0: "did all", -9: "killed", 7: "locked"}.get(status, f"exit {status}")] += 1
        if status == TOO_EARLY:
            wrong.append("a holder was replaced before its lease had run out")
        elif status not in (0, -9, ExitCode.LOCKED):
            wrong.append(f"a worker ended with {status}")
    shared.pass_time(ASLEEP)
    try:
        Worker(shared, 99, None).work()
    except Refusal as refusal:
        wrong.append(f"nobody can go on: {refusal.problem.summary}")
    acts = shared.acts()
    wrong += [f"act {number} was done {count} times" for number, count in Counter(n for n, _ in acts).items()
              if count != 1]
    if sorted(number for number, _ in acts) != list(range(ACTS)) and not wrong:
        wrong.append(f"acts done: {acts}")
    if [fence for _, fence in acts] != sorted(fence for _, fence in acts):
        wrong.append(f"an act was done under a fence that had been replaced: {acts}")
    with closing(Journal.open(folder / "m", Clock(shared), create=False)) as journal:
        wrong += [problem.found for problem in journal.verify()]
        fences = [record.fence or 0 for record in journal.records()]
        if fences != sorted(fences):
            wrong.append(f"fences do not rise: {fences}")
        ends["takeovers"] += len(set(fences)) - 1
    return wrong


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--races", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=1, help="of the first race; the next has the next")
    arguments.add_argument("--folder", type=Path, help="where the journals lie (default: a temporary folder)")
    given = arguments.parse_args()
    began, bad = time.monotonic(), 0
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="mailmove-races-", dir=given.folder) as temporary:
        for number in range(given.races):
            folder = Path(temporary) / "race"
            folder.mkdir()
            wrong = race(folder, given.seed + number, ends)
            bad += bool(wrong)
            for line in wrong:
                print(f"violation: seed {given.seed + number}: {line}", flush=True)
            shutil.rmtree(folder)
    told = ", ".join(f"{name} {count:,}" for name, count in sorted(ends.items()))
    print(f"{bad} violations / {given.races:,} races, seeds {given.seed} to {given.seed + given.races - 1}, "
          f"{time.monotonic() - began:.0f} seconds; workers: {told}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
