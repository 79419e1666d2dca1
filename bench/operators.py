"""Several whole `mailmove apply` processes on one migration in the lab: nothing twice, no call of one that woke late.

    python -m bench.operators race --rounds 200 --seed 1
    python -m bench.operators stop --rounds 200 --seed 1

race: in each round two to eight processes start at about the same moment, and in every third round one of them is
killed at a drawn request. Some hold the migration one after the other, the others are told who does (exit 7). Between
rounds people answer and time goes on; a migration that has converged is followed by a new one. Judged by the lab's
counters: nothing done twice, and a last digest like that of a migration with one operator.

stop: in each round the holder is stopped (SIGSTOP) at a drawn request – before it is handled, after, or answered – or,
in every other of those that have anything to do, behind its first write of intents, before the requests that these
announce have left (behind a later one, an earlier act might be just past its last look at the lease, which no check
can help). The lease runs out, a second operator takes over and runs to its end, or is stopped in its middle as well;
then the first one is woken (SIGCONT). It must end with 7, and the lab must have had no changing request of it since;
requests that only read are counted too.

Prints violations / rounds; ends with 1 when any went wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.scene import ENDS, Apply, Scene, scene
from bench.warm_start import WarmStart
from engine.run.lease import LEASE

WHENS = ("before", "after", "answered")
LOOK_SECONDS = 0.02
#: A migration that does not converge in so many rounds is stuck.
ROUNDS_MAX = 120


class Rig:
    """Rounds of one kind over as many migrations as they take."""

    def __init__(self, seed: int) -> None:
        self.fate = random.Random(seed)
        self.wrong: list[str] = []
        self.rounds = 0
        self.counts: Counter[str] = Counter()
        self.digests: set[str] = set()
        #: the last holder was to stop behind an intent
        self.intent = False

    def bad(self, what: str) -> None:
        self.wrong.append(what)
        print(f"violation: round {self.rounds}: {what}", flush=True)

    def converged(self, on: Scene) -> None:
        for each in on.done_twice():
            self.bad(f"done more than once: {each}")
        self.digests.add(on.digest())
        self.counts["migrations"] += 1

    def ended(self, process: Apply) -> int:
        code = process.wait()
        self.counts[f"exit {code}"] += 1
        if code not in ENDS:
            self.bad(f"ended with {code}: {process.words()[-400:]}")
        if code == 7 and "in the middle of a write" in process.words():
            self.counts["met a writer that stands still"] += 1
        elif code == 7 and "process" not in process.words() and "nobody holds it now" not in process.words():
            self.bad(f"exit 7 does not say who holds it: {process.words()[-300:]}")
        return code


def race(rig: Rig, on: Scene) -> bool:
    """One round; True when the migration has converged."""
    processes = []
    kill = rig.fate.random() < 0.33
    for number in range(rig.fate.randint(2, 8)):
        processes.append(on.apply(f"operator{number}"))
        time.sleep(rig.fate.random() * 0.2)
    if kill:
        victim = rig.fate.choice(processes)
        if not victim.over:
            on.lab.post("/kill", pid=victim.process.pid, at=rig.fate.randint(1, 40), when=rig.fate.choice(WHENS))
    codes = [rig.ended(process) for process in processes]
    rig.counts["processes"] += len(codes)
    outcomes = [process.outcome() for process in processes]
    if 0 in codes:
        return True
    on.go_on(outcomes)
    return False


def _stand(process: Apply) -> bool:
    """Waits until it stands still, or is over."""
    while not process.over:
        if process.stopped():
            return True
        time.sleep(LOOK_SECONDS)
    return False


def stop(rig: Rig, on: Scene) -> bool:
    # never twice running: a letter that is always cut off before it is sent never leaves, whatever people answer
    intent = rig.intent = rig.fate.random() < 0.8 and not rig.intent
    first = on.apply("anna", stop_at_intent=int(intent))
    if not intent:
        on.lab.post("/kill", pid=first.process.pid, at=rig.fate.randint(1, 60), when=rig.fate.choice(WHENS), stop=True)
    if not _stand(first) or not on.held_by(first):  # it had fewer requests to ask, or acts to do: no boundary
        rig.rounds -= 1
        if not first.over:  # it stands still behind its last record: all it has left to do is to end
            os.kill(first.process.pid, signal.SIGCONT)
        code = rig.ended(first)
        if code != 0:
            on.go_on([first.outcome()])
        return code == 0
    rig.counts["stopped between an intent and its request"] += intent
    on.lab.post("/clock/advance", seconds=LEASE.total_seconds() + 10)
    second = on.apply("bo")
    both = rig.fate.random() < 0.5
    if both:
        on.lab.post("/kill", pid=second.process.pid, at=rig.fate.randint(20, 60), when=rig.fate.choice(WHENS),
                    stop=True)
        both = _stand(second)
        rig.counts["woken while the second stands still"] += both
    if not both and rig.ended(second) == 7:
        # the first one stands still in the middle of a write: nobody can take over, and nobody has
        os.kill(first.process.pid, signal.SIGCONT)
        code = rig.ended(first)
        if code != 0:
            on.go_on([first.outcome()])
        return code == 0
    moved, arrived = on.moved(), on.arrived()
    os.kill(first.process.pid, signal.SIGCONT)
    code = rig.ended(first)
    late, reads = on.moved() - moved, on.arrived() - arrived
    if late:
        rig.bad(f"{late} changes by one that woke after its lease")
    if code != 7:
        rig.bad(f"one that woke after its lease ended with {code}: {first.words()[-300:]}")
    rig.counts["requests that only read, after waking"] += reads
    if both:
        os.kill(second.process.pid, signal.SIGCONT)
        rig.ended(second)
    if second.process.poll() == 0:
        return True
    on.go_on([second.outcome()])
    return False


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("kind", choices=["race", "stop"])
    arguments.add_argument("--rounds", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the lab ends with the rig
    began, rig, start = time.monotonic(), Rig(given.seed), WarmStart()
    with tempfile.TemporaryDirectory(prefix="mailmove-operators-") as temporary:
        while rig.rounds < given.rounds:
            number = rig.counts["migrations begun"] = rig.counts["migrations begun"] + 1
            folder = Path(temporary) / str(number)
            folder.mkdir()
            with scene(folder, given.seed, start) as on:
                for _ in range(ROUNDS_MAX):
                    rig.rounds += 1
                    if (race if given.kind == "race" else stop)(rig, on):
                        rig.converged(on)
                        break
                    if rig.rounds >= given.rounds:
                        for each in on.done_twice():
                            rig.bad(f"done more than once: {each}")
                        break
                else:
                    rig.bad(f"not converged in {ROUNDS_MAX} rounds: {on.person.status()['counts']}")
    if len(rig.digests) > 1:
        rig.bad(f"migrations ended in different organisations: {sorted(rig.digests)}")
    told = ", ".join(f"{name} {count:,}" for name, count in sorted(rig.counts.items()))
    print(f"{len(rig.wrong)} violations / {rig.rounds} rounds ({given.kind}), seed {given.seed}, "
          f"{time.monotonic() - began:.0f} seconds; {told}")
    return 1 if rig.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
