"""Whole migrations by the hundred, simulated; every promise watched at every event.

    python -m tests.simulation --seeds 1..200 [--jobs 2] [--size 2000] [--minutes 90]
    python -m tests.simulation --seed 17 [--story]      one of them, and what happened in it

Prints each broken promise with the seed that repeats it, the shortest story found that still breaks it, then
violations / cases, how large the migrations were, and how long it took. Ends with 1 when any promise was broken.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from itertools import islice

from tests.simulation.scenario import SIZE_MAX, Scenario, draw
from tests.simulation.shrinking import shrunk
from tests.simulation.story import Result, tell

#: Upper ends of the classes of size that are counted.
CLASSES = (1, 3, 10, 31, 100, 316, 1_000, 2_000)
#: Of a broken story, this many last events are printed; --story prints all.
EVENTS_SHOWN = 40


@dataclass
class Told:
    """A story's figures, as they come back from a worker process. cpu: seconds, of the twin (L4) also."""

    seed: int
    size: int
    result: Result
    cpu: float
    compared: bool = False


@dataclass
class Sum:
    """Over all stories."""

    cases: int = 0
    bad: list[Told] = field(default_factory=list)
    sizes: Counter[int] = field(default_factory=Counter)
    cpu: Counter[int] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    days: float = 0.0

    def add(self, told: Told) -> None:
        self.cases += 1
        size = next(each for each in CLASSES if told.size <= each)
        self.sizes[size] += 1
        self.cpu[size] += told.cpu  # type: ignore[assignment]
        self.days += told.result.days
        self.troubles.update(each.kind for each in told.result.scenario.troubles)
        for name in ("events", "effects", "requests", "runs", "kills", "said"):
            self.figures[name] += getattr(told.result, name)
        self.figures["compared with a calm twin"] += told.compared
        if told.result.violation:
            self.bad.append(told)


def one(seed: int, size_max: int, twins: int) -> Told:
    """The story of a seed; every `twins`-th that must end as its calm twin is compared with it (L4)."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    scenario = draw(seed, size_max)
    began = time.process_time()
    result = safely(scenario)
    compared = not result.violation and scenario.comparable and bool(twins) and seed % twins == 0
    if compared:
        calm = safely(scenario.calm())
        if calm.violation:
            result.violation = f"calm twin: {calm.violation}"
        elif calm.ended != result.ended:
            result.violation = f"L4: it ends otherwise than without troubles ({result.ended[:12]}, {calm.ended[:12]})"
    return Told(seed, scenario.mailboxes, result, time.process_time() - began, compared)


def safely(scenario: Scenario) -> Result:
    """A story; an engine that breaks in it is a broken promise too, the first of all."""
    try:
        return tell(scenario)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Result(scenario, f"traceback: {type(error).__name__}: {str(error)[:300]} "
                                f"({last.filename}:{last.lineno})")


def many(seeds: Iterable[int], size_max: int, jobs: int, minutes: float, twins: int) -> Sum:
    found, began = Sum(), time.monotonic()
    left = iter(seeds)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        def submit(count: int) -> set[Future[Told]]:
            if time.monotonic() - began > minutes * 60:
                return set()
            return {pool.submit(one, seed, size_max, twins) for seed in islice(left, count)}

        pending = submit(jobs * 2)
        while pending:
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            for each in ended:
                told = each.result()
                found.add(told)
                if told.result.violation:
                    print(f"violation: {told.result.violation}\n    {told.result.scenario}\n"
                          f"    repeat: python -m tests.simulation --seed {told.seed} --size {size_max} --story",
                          flush=True)
                if found.cases % 50 == 0:
                    print(f"{found.cases}: {len(found.bad)} violations, {time.monotonic() - began:.0f} s", flush=True)
                pending |= submit(1)
    return found


def report(found: Sum, seconds: float) -> None:
    print("mailboxes   stories   CPU seconds each")
    below = 0
    for size in CLASSES:
        if found.sizes[size]:
            print(f"{below + 1:>5}-{size:<5}  {found.sizes[size]:>6}   {found.cpu[size] / found.sizes[size]:.2f}")
        below = size
    print("troubles: " + ", ".join(f"{count} {kind}" for kind, count in sorted(found.troubles.items())))
    print("in all: " + ", ".join(f"{count:,} {name}" for name, count in found.figures.items())
          + f", {found.days:,.0f} simulated days")
    print(f"{len(found.bad)} violations / {found.cases} cases, {seconds:.0f} seconds")


def show(seed: int, size_max: int, story: bool) -> int:
    """One seed; when a promise is broken, the shortest story that breaks it."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    result = tell(draw(seed, size_max), tell=story)
    if story:
        print("\n".join(result.told))
    print(json.dumps({name: each for name, each in asdict(result).items() if name not in ("told", "scenario")}))
    if not result.violation:
        return 0
    short = shrunk(result, safely)
    told = tell(short.scenario, tell=True)
    print(f"\nThe shortest story that breaks it: {told.violation}\n{told.scenario}\n{told.scenario.level}")
    print("\n".join(f"  {each}" for each in told.scenario.troubles))
    print("\n".join(told.told[-EVENTS_SHOWN:]))
    return 1


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", default="1..200", help="FIRST..LAST")
    arguments.add_argument("--seed", type=int)
    arguments.add_argument("--story", action="store_true", help="print every event")
    arguments.add_argument("--size", type=int, default=SIZE_MAX, help="mailboxes, at most")
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--minutes", type=float, default=1e9, help="no story begins later than this")
    arguments.add_argument("--twins", type=int, default=4, help="every so many are compared with a calm twin (L4)")
    given = arguments.parse_args()
    if given.seed is not None:
        return show(given.seed, given.size, given.story)
    first, _, last = given.seeds.partition("..")
    began = time.monotonic()
    found = many(range(int(first), int(last or first) + 1), given.size, given.jobs, given.minutes, given.twins)
    report(found, time.monotonic() - began)
    return 1 if found.bad else 0


if __name__ == "__main__":
    sys.exit(main())
