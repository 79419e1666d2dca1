"""Inputs drawn by a seed: `python -m tests.fuzz.drawn TARGET --executions 10000 --seed 20261125`.

A process of its own, so that its peak is the reader's. Prints one line of JSON and ends with 0 when every execution
kept the bounds of `bounds.py`; else the input that did not.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.fuzz import targets
from tests.fuzz.bounds import RESIDENT_MIB_MAX, Bounded, TooLongError


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz.drawn", description=__doc__)
    arguments.add_argument("target", choices=targets.NAMES_OF_TARGETS)
    arguments.add_argument("--executions", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=20261125)
    said = arguments.parse_args()
    feed, rng, starts = targets.made(said.target), random.Random(said.seed), targets.seeds(said.target)
    feed(starts[0])  # what the libraries take to load is nobody's execution
    bounded, begun = Bounded(feed), time.process_time()
    for _ in range(said.executions):
        data = targets.mutated(said.target, rng.choice(starts), rng)
        try:
            bounded(data)
        except (Exception, TooLongError):
            print(f"{said.target}: {data!r}", file=sys.stderr)
            raise
    seconds = time.process_time() - begun
    print(bounded.report()[:-1] + f', "target": "{said.target}", "seed": {said.seed}, '
          f'"cpu_seconds": {seconds:.1f}, "each_second": {said.executions / seconds:.0f}}}')
    return int(bounded.seen()["peak_resident_mib"] > RESIDENT_MIB_MAX)


if __name__ == "__main__":
    sys.exit(main())
