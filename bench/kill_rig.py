"""Kills one rehearsal after another at requests drawn from a seed; each must end as the undisturbed one, nothing twice.

    python -m bench.kill_rig PLAYBOOK --points 200 --seed 1 --jobs 2

Prints what went wrong at a point, the folder that was kept and the command that repeats it, then violations / cases
and the time it took; ends with 1 when any went wrong. A point to which no request came (the run was over by then) is
no case: another is drawn in its stead.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

from engine import app
from engine.rehearse import Kill, Rehearsal, rehearse
from engine.world import World

WHENS = ("before", "after", "answered")


def one(playbook: Path, kills: list[Kill], seed: int, folder: Path) -> Rehearsal:
    """One rehearsal in `folder`, which is left there."""
    world = World()
    folder.mkdir(parents=True)
    migration = app.load(app.place(playbook, None, folder / "state", world), {}, world)
    return rehearse(migration, seed=seed, faults="none", kills=kills, folder=folder, extra_vars={}, screen=None,
                    world=world)


def draw(points: int, requests: int, seed: int) -> list[Kill]:
    """So many different kill points among the requests of an undisturbed rehearsal; the same seed draws the same."""
    places = [(at, when) for at in range(1, requests + 1) for when in WHENS]
    return [Kill(*place) for place in random.Random(seed).sample(places, min(points, len(places)))]


def name(kill: Kill) -> str:
    return f"{kill.at}-{kill.when}"


def violations(found: Rehearsal, whole: Rehearsal) -> Iterator[str]:
    """What a killed rehearsal did otherwise than the undisturbed one."""
    if found.exit_code:
        yield f"ended with exit code {found.exit_code}"
    if found.digest != whole.digest:
        yield f"the organisation is another: digest {found.digest[:16]} instead of {whole.digest[:16]}"
    if found.twice:
        yield f"done more than once: {'; '.join(found.twice)}"
    if found.again_changed or not found.again_same:
        yield f"not converged: the same playbook once more changed {found.again_changed}"
    yield from found.last_words[-3:]


def point(playbook: Path, kill: Kill, seed: int, folder: Path, whole: Rehearsal) -> tuple[Kill, bool, list[str]]:
    """One kill point in a process of the pool: whether the kill came, and its violations. Keeps a bad folder."""
    try:
        found = one(playbook, [kill], seed, folder)
    except Exception as error:  # a rehearsal that cannot go on is a result of the rig, not the end of it
        return kill, True, [f"{type(error).__name__}: {error}"]
    wrong = list(violations(found, whole))
    if not wrong:
        shutil.rmtree(folder)
    return kill, found.kills > 0, wrong


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("playbook", type=Path)
    arguments.add_argument("--points", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1, help="draws the kill points, and is the lab's")
    arguments.add_argument("--jobs", type=int, default=2)
    given = arguments.parse_args()
    began = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="mailmove-rig-"))
    whole = one(given.playbook, [], given.seed, root / "undisturbed")
    print(f"undisturbed: {whole.requests:,} requests, {whole.changed:,} changes, {whole.wall_seconds:.1f} s, "
          f"digest {whole.digest[:16]}", flush=True)
    if not whole.well:
        print(f"The undisturbed rehearsal is not well: {root / 'undisturbed'}")
        return 1
    kills = iter(draw(3 * whole.requests, whole.requests, given.seed))
    done = bad = 0
    # Fresh processes, not forks: what one rehearsal leaves in memory is no part of the next machine's start.
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        def submit(count: int) -> set[Future[tuple[Kill, bool, list[str]]]]:
            return {pool.submit(point, given.playbook, kill, given.seed, root / name(kill), whole)
                    for kill in islice(kills, count)}

        pending = submit(given.points)
        while pending:
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            for each in ended:
                kill, killed, wrong = each.result()
                if not killed and not wrong:
                    pending |= submit(1)
                    continue
                done += 1
                if wrong:
                    bad += 1
                    print(f"violation: killed at {kill.at}:{kill.when}: {'; '.join(wrong)}\n"
                          f"    kept:   {root / name(kill)}\n"
                          f"    repeat: mailmove rehearse {given.playbook} --seed {given.seed} "
                          f"--kill-at {kill.at}:{kill.when} --keep NEW-FOLDER", flush=True)
                if done % 20 == 0:
                    print(f"{done} of {given.points}: {bad} violations, {time.monotonic() - began:.0f} s", flush=True)
    if not bad:
        shutil.rmtree(root)
    print(f"{bad} violations / {done} cases, {time.monotonic() - began:.0f} seconds")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
