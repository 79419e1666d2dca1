"""Kills real engines at every request, answer and journal write of six playbooks; each must end as if never killed.

    python -m bench.kill_matrix                                    # every point of all playbooks: hours
    python -m bench.kill_matrix --draw 60 --seed 1                 # sixty points of all, drawn
    python -m bench.kill_matrix --playbook staged-2007 --at 137:before     # one point, as a violation names it

Points are named by the protocol of an undisturbed rehearsal: N:before, N:after and N:answered are the N-th request that
reaches the lab; wN:before and wN:after the N-th write of the journal. Organisations have three mailboxes. With --each
several points drawn together are met in one rehearsal, one kill after the other; what goes wrong then is tried again
point by point. Judged: exit code 0, the organisation's digest, nothing done twice by the lab's counters, and a last run
that changes nothing. Prints violations / points for each playbook; ends with 1 when any went wrong.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.kill_rig import WHENS, violations
from engine import app
from engine.lab import generate
from engine.rehearse import Kill, Rehearsal, rehearse
from engine.world import World

#: name → type, release at the source, the seed of the organisation
PLAYBOOKS = {
    "staged-2003": ("staged", "2003", 1), "staged-2007": ("staged", "2007", 1), "staged-2007-b": ("staged", "2007", 5),
    "cutover-2007": ("cutover", "2007", 1), "cutover-2010": ("cutover", "2010", 1),
    "cutover-2013": ("cutover", "2013", 1)}
MAILBOXES = 3
SEED = 1


@dataclass(frozen=True)
class Point:
    """One place to be killed at: the `at`-th request, or, with `write`, the `at`-th write of the journal."""

    at: int
    when: str
    write: bool = False

    def __str__(self) -> str:
        return f"{'w' if self.write else ''}{self.at}:{self.when}"

    @classmethod
    def parse(cls, text: str) -> Point:
        number, _, when = text.partition(":")
        return cls(int(number.removeprefix("w")), when or "before", number.startswith("w"))


@dataclass
class Matrix:
    """One playbook's undisturbed rehearsal, and how many requests and writes it had."""

    name: str
    playbook: Path
    folder: Path
    whole: Rehearsal
    writes: int

    @classmethod
    def make(cls, name: str, folder: Path) -> Matrix:
        kind, exchange, seed = PLAYBOOKS[name]
        company = folder / name
        generate.write(generate.company(generate.Order(kind, MAILBOXES, seed=seed, exchange=exchange)), company)
        playbook = company / "playbook.yml"
        whole, writes = rehearsed(playbook, (), folder / f"{name}-undisturbed")
        if not whole.well:
            raise SystemExit(f"{name}: the undisturbed rehearsal is not well: {whole.last_words or whole.parked}")
        return cls(name, playbook, folder, whole, writes)

    def points(self) -> list[Point]:
        return [*(Point(at, when) for at in range(1, self.whole.requests + 1) for when in WHENS),
                *(Point(at, when, True) for at in range(1, self.writes + 1) for when in ("before", "after"))]

    def judge(self, points: Sequence[Point]) -> list[str]:
        """What went wrong in one rehearsal with these kills."""
        place = self.folder / "killed"
        try:
            found, _ = rehearsed(self.playbook, points, place)
            wrong = list(violations(found, self.whole))
            if found.kills == 0:
                wrong.append("no kill came about")
        except Exception as error:  # a rehearsal that cannot go on is a result of the rig, not the end of it
            wrong = [f"{type(error).__name__}: {error}"]
        shutil.rmtree(place, ignore_errors=True)
        return wrong


def rehearsed(playbook: Path, points: Sequence[Point], folder: Path) -> tuple[Rehearsal, int]:
    """One rehearsal killed at these points – at one write at most – and the number of its journal writes."""
    world = World()
    folder.mkdir(parents=True)
    counter = folder / "writes"
    written = next((point for point in points if point.write), Point(0, "before", True))
    migration = app.load(app.place(playbook, None, folder / "state", world), {}, world)
    found = rehearse(
        migration, seed=SEED, faults="none", kills=[Kill(each.at, each.when) for each in points if not each.write],
        folder=folder, extra_vars={}, screen=None, world=world, deaths=sum(each.write for each in points),
        entry=("bench.dying_engine", str(counter), str(written.at), written.when))
    return found, int(counter.read_text(encoding="ascii"))


def groups(points: Sequence[Point], each: int) -> Iterator[list[Point]]:
    """The points in groups of `each`, at most one write of the journal in a group."""
    writes = [point for point in points if point.write]
    requests = [point for point in points if not point.write]
    while writes or requests:
        group = [writes.pop()] if writes else []
        while requests and len(group) < each:
            group.append(requests.pop())
        yield group


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--playbook", choices=PLAYBOOKS, action="append", help="only this one; may be repeated")
    arguments.add_argument("--at", action="append", default=[], metavar="[w]N:WHEN", help="only this point")
    arguments.add_argument("--draw", type=int, default=0, help="so many points, over all playbooks (default: all)")
    arguments.add_argument("--each", type=int, default=1, help="points met in one rehearsal (1)")
    arguments.add_argument("--seed", type=int, default=1, help="draws the points")
    given = arguments.parse_args()
    began, bad, done, there = time.monotonic(), 0, 0, 0
    fate = random.Random(given.seed)
    names = given.playbook or list(PLAYBOOKS)
    if given.draw and not given.playbook and given.draw <= 60:
        names = fate.sample(names, min(len(names), max(1, given.draw // given.each)))
    with tempfile.TemporaryDirectory(prefix="mailmove-matrix-") as temporary:
        for number, name in enumerate(names):
            matrix = Matrix.make(name, Path(temporary))
            points = matrix.points()
            there += len(points)
            share = given.draw // len(names) + (number < given.draw % len(names))
            chosen = [Point.parse(text) for text in given.at] or (
                fate.sample(points, min(share, len(points))) if given.draw else fate.sample(points, len(points)))
            wrong_here, met = 0, 0
            for group in groups(chosen, given.each):
                wrong = matrix.judge(group)
                alone = [point for point in group if len(group) > 1 and wrong and matrix.judge([point])]
                met += len(group)
                if wrong:
                    wrong_here += max(1, len(alone))
                    print(f"violation: {name}: killed at {', '.join(map(str, group))}: {'; '.join(wrong)}", flush=True)
                    for point in alone or group[:1]:
                        print(f"    repeat: python -m bench.kill_matrix --playbook {name} --at {point}", flush=True)
            print(f"{name}: {wrong_here} violations / {met} of {len(points):,} points ({matrix.whole.requests:,} "
                  f"requests, {matrix.writes:,} writes), {time.monotonic() - began:.0f} s", flush=True)
            bad, done = bad + wrong_here, done + met
    print(f"{bad} violations / {done} points of {there:,} enumerated, seed {given.seed}, "
          f"{time.monotonic() - began:.0f} seconds")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
