"""`mailmove plan` of a generated staged organisation against the lab: its text, and what was asked of the remote side.

    python -m bench.plan_large --mailboxes 4300

Prints the plan, then the requests by kind, the changes the lab saw (none) and the time the plan took. The figures a
plan must keep to are in tests/whole/test_plan_large.py.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine import app
from engine.cli import main as mailmove
from engine.lab import generate
from engine.laboratory import Lab
from engine.rehearse import organisation, write_inventory
from engine.world import World


@dataclass(frozen=True)
class Planned:
    """The plan's text, and what the lab counted. `moved` and `digest` hold what was before and what was after it."""

    exit_code: int
    text: str
    errors: str
    requests: Mapping[str, int]
    moved: tuple[int, int]
    digest: tuple[str, str]
    seconds: float


def planned(mailboxes: int, folder: Path, seed: int = 1) -> Planned:
    """Generates the organisation in `folder`, starts a lab for it, and plans it by the public command."""
    world = World()
    generate.write(generate.company(generate.Order("staged", mailboxes, seed)), folder / "migration")
    migration = app.load(app.place(folder / "migration", None, folder / "state", world), {}, world)
    (folder / "lab").mkdir()
    with Lab(folder / "lab", organisation(migration), seed=seed, faults="none", environment=world.environment) as lab:
        inventory = write_inventory(migration.place.inventory, lab.ready, folder / "lab")
        counted, digest = lab.get("/counters"), lab.get("/state/digest")["digest"]
        out, err = io.StringIO(), io.StringIO()
        began = time.monotonic()
        code = mailmove(["plan", str(migration.place.playbook), "-i", str(inventory), "--state",
                         str(folder / "state")], out, err, world)
        seconds = time.monotonic() - began
        after = lab.get("/counters")
        return Planned(code, out.getvalue(), err.getvalue(), after["requests"], (counted["moved"], after["moved"]),
                       (digest, lab.get("/state/digest")["digest"]), seconds)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mailboxes", type=int, default=4300)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailmove-plan-") as folder:
        found = planned(given.mailboxes, Path(folder), given.seed)
    print(found.text + found.errors)
    for kind, count in sorted(found.requests.items(), key=lambda each: -each[1]):
        print(f"{count:>7,}  {kind}")
    print(f"{sum(found.requests.values()):>7,}  requests; {found.moved[1] - found.moved[0]} changes; "
          f"{len(found.text.splitlines())} lines; {found.seconds:.1f} seconds")
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main())
