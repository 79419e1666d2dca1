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
import sys
import time
import warnings
from dataclasses import asdict

from tests.simulation.many import CLASSES, Sum, many, safely
from tests.simulation.scenario import SIZE_MAX, draw
from tests.simulation.shrinking import shrunk
from tests.simulation.story import tell

#: Of a broken story, this many last events are printed; --story prints all.
EVENTS_SHOWN = 40


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
    arguments.add_argument("--stop", action="store_true", help="no story begins after one that breaks a promise")
    given = arguments.parse_args()
    if given.seed is not None:
        return show(given.seed, given.size, given.story)
    first, _, last = given.seeds.partition("..")
    began = time.monotonic()
    found = many(range(int(first), int(last or first) + 1), given.size, given.jobs, given.minutes, given.twins,
                 given.stop)
    report(found, time.monotonic() - began)
    return 1 if found.bad else 0


if __name__ == "__main__":
    sys.exit(main())
