"""Kills one rehearsal after another at evenly spread requests; each must end in the same organisation, nothing twice.

    python -m bench.kill_rig PLAYBOOK --points 200

Prints one line a point that went wrong and a summary; ends with 1 when any did.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from engine import app
from engine.rehearse import Kill, Rehearsal, rehearse
from engine.world import World

WHENS = ("before", "after", "answered")


def one(migration: app.Migration, kills: list[Kill], seed: int) -> Rehearsal:
    with tempfile.TemporaryDirectory(prefix="mailmove-rig-") as folder:
        return rehearse(migration, seed=seed, faults="none", kills=kills, folder=Path(folder), extra_vars={},
                        screen=None, world=World())


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("playbook", type=Path)
    arguments.add_argument("--points", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    world = World()
    with tempfile.TemporaryDirectory() as state:
        migration = app.load(app.place(given.playbook, None, Path(state), world), {}, world)
        whole = one(migration, [], given.seed)
        print(f"undisturbed: {whole.requests:,} requests, {whole.changed:,} changes, {whole.wall_seconds:.1f} s, "
              f"digest {whole.digest[:16]}", flush=True)
        bad = 0 if whole.well else 1
        for point in range(given.points):
            kill = Kill(1 + point * whole.requests // given.points, WHENS[point % len(WHENS)])
            found = one(migration, [kill], given.seed)
            if not found.well or found.digest != whole.digest:
                bad += 1
                print(f"killed at {kill.at}:{kill.when}: exit {found.exit_code}, twice {found.twice}, again "
                      f"{found.again_changed} changed, digest {found.digest[:16]}", flush=True)
        print(f"{given.points} kills: {given.points - bad} well, {bad} not")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
