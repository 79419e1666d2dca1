"""Kills real engines at every request, answer and journal write of six playbooks; each must end as if never killed.

    python -m bench.kill_matrix                                          # every point of all six
    python -m bench.kill_matrix --playbook staged-2007 --part 2/3        # of one, every third from the second
    python -m bench.kill_matrix --draw 60 --seed 1                       # sixty points of two of them, drawn
    python -m bench.kill_matrix --playbook cutover-2010 --at 3f9a1c2b    # one point, as a violation names it

An undisturbed rehearsal enumerates the acts: requests that reach the lab and writes of the journal, named as
`bench.kill_matrix.ledger` says. Points lie before a request is handled, before its answer and behind its answer, and
before and behind a write. One pass is a rehearsal in which every act that is still wanted kills the engine that comes
to it in the same way as the undisturbed one did; as many passes are made as it takes until every point was met.

Judged after each pass: exit code 0, the organisation's digest, where every task stands, nothing done twice by the lab's
counters, no durable record missing from the journal, and a last run that changes nothing. A pass that goes wrong is
made again with half of its points until one is left. Prints violations / points; ends with 1 when any went wrong.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.kill_matrix.ledger import context
from bench.kill_matrix.matrix import PLAYBOOKS, Matrix, identity, kinds, run
from bench.warm_start import WarmStart

#: Playbooks among which few points are drawn.
DRAWN_PLAYBOOKS = 2


def chosen(names: Sequence[str], given: argparse.Namespace, fate: random.Random, matrices: Iterator[Matrix],
           ) -> Iterator[tuple[Matrix, list[str]]]:
    """Each playbook with the points that are wanted of it."""
    for number, matrix in enumerate(matrices):
        points = matrix.points()
        if given.at:
            yield matrix, [each for each in points if identity(each) in given.at]
        elif given.draw:
            share = given.draw // len(names) + (number < given.draw % len(names))
            yield matrix, drawn(points, share, fate)
        else:
            part, parts = given.part
            yield matrix, points[part - 1::parts]


def drawn(points: Sequence[str], count: int, fate: random.Random) -> list[str]:
    """So many of them, a second behind the same write only when there is one behind each: few passes meet them."""
    rounds: dict[str, int] = {}
    shuffled = []
    for each in fate.sample(points, len(points)):
        rounds[context(each)] = rounds.get(context(each), 0) + 1
        shuffled.append((rounds[context(each)], each))
    return [each for _, each in sorted(shuffled, key=lambda one: one[0])[:count]]


def fraction(text: str) -> tuple[int, int]:
    """From "K/N". ValueError when it is none."""
    part, _, parts = text.partition("/")
    if not 1 <= int(part) <= int(parts):
        raise ValueError(text)
    return int(part), int(parts)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--playbook", choices=PLAYBOOKS, action="append", help="only this one; may be repeated")
    arguments.add_argument("--at", action="append", default=[], metavar="ID", help="only this point; may be repeated")
    arguments.add_argument("--draw", type=int, default=0, help="so many points (default: all)")
    arguments.add_argument("--part", type=fraction, default=(1, 1), metavar="K/N", help="only every N-th point, from K")
    arguments.add_argument("--seed", type=int, default=1, help="draws playbooks and points")
    arguments.add_argument("--stop", action="store_true", help="at the first pass that goes wrong")
    given = arguments.parse_args()
    began, bad, met, there = time.monotonic(), 0, 0, 0
    fate = random.Random(given.seed)
    names = given.playbook or list(PLAYBOOKS)
    if given.draw and not given.playbook:
        names = fate.sample(names, DRAWN_PLAYBOOKS)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # lab and engine end with the rig
    start = WarmStart()
    with tempfile.TemporaryDirectory(prefix="mailmove-matrix-") as temporary:
        matrices = (Matrix(name, Path(temporary) / name, start) for name in names)
        for matrix, points in chosen(names, given, fate, matrices):
            if not points:
                raise SystemExit(f"{matrix.name}: no such point")
            wrong, found, passes = run(matrix, points, stop=given.stop)
            enumerated = len(matrix.points())
            print(f"{matrix.name}: {wrong} violations / {found:,} of {enumerated:,} points ({kinds(points)}), "
                  f"{passes} passes, {time.monotonic() - began:.0f} s", flush=True)
            bad, met, there = bad + wrong, met + found, there + enumerated
            shutil.rmtree(matrix.folder)
    print(f"{bad} violations / {met:,} points of {there:,} enumerated, seed {given.seed}, "
          f"{time.monotonic() - began:.0f} seconds")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
