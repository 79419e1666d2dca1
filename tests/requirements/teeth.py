"""Do the tests bite? Breaks requirements one at a time in a copy of the tree, and demands that their tests turn red.

    python -m tests.requirements.teeth --seed 1 --count 20     twenty ids drawn by the seed
    python -m tests.requirements.teeth B-14 C-07               these

For each id the tests marked with it must pass as the tree stands – alone, without the tests before them in their file –
and then, with the change of its file (`breaks`), at least one of them must fail by an assertion or an error of its own:
a test file that can no longer be read does not count. Exit code 0: so it was with all of them.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.requirements.evidence import ROOT, Evidence, files, load
from tests.requirements.marked import Marked, collect

#: What a run needs; the rest of a working copy (environments, states, caches) stays behind.
COPIED = ("engine", "playbooks", "inventory", "schemas", "tests", "docs", "bench", "pyproject.toml", "Makefile",
          "README.md", "CHANGELOG.md", "requirements.lock")
#: pytest: 0 all passed, 1 some failed; above that it could not do its work.
PASSED, FAILED, NOT_RUN = 0, 1, -1


@dataclass(frozen=True)
class Bite:
    """What became of one id: how its tests ended (pytest's exit codes) as the tree stands, and broken."""

    id: str
    tests: int
    whole: int
    broken: int
    seconds: float
    said: str = ""

    @property
    def well(self) -> bool:
        return self.whole == PASSED and self.broken == FAILED


def draw(seed: int, count: int) -> list[Evidence]:
    """Ids that can be broken, drawn by the seed; all of them when there are not more."""
    breakable = [evidence for evidence in map(load, files().values()) if evidence.breaks]
    return random.Random(seed).sample(breakable, min(count, len(breakable)))


def bites(drawn: Sequence[Evidence], tests: Sequence[Marked]) -> Iterator[Bite]:
    """Each id in turn: its tests with the tree as it stands, then with the break."""
    with tempfile.TemporaryDirectory(prefix="mailmove-teeth-") as temporary:
        copy = copied(Path(temporary))
        for each in drawn:
            assert each.breaks is not None
            nodes = [test.node for test in tests if each.id in test.requirements]
            began = time.monotonic()
            whole, said = _run(copy, nodes)
            broken = NOT_RUN
            if whole == PASSED:
                place = copy / each.breaks.file
                text = place.read_text(encoding="utf-8")
                place.write_text(each.breaks.applied(text), encoding="utf-8")
                try:
                    broken, said = _run(copy, nodes)
                finally:
                    place.write_text(text, encoding="utf-8")
            yield Bite(each.id, len(nodes), whole, broken, time.monotonic() - began, said)


def copied(folder: Path) -> Path:
    """The tree as a run needs it, below `folder`."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "state"))
        elif source.exists():
            shutil.copy2(source, folder / name)
    return folder


def _run(copy: Path, nodes: Sequence[str]) -> tuple[int, str]:
    """pytest's exit code, and what it said."""
    if not nodes:
        return NOT_RUN, "no test is marked with it"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV_"))}
    # a file changed twice within a second, to the same length, must not be met as it was compiled before
    environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run([sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
                            *nodes], cwd=copy, env=environment, capture_output=True, text=True)
    return ended.returncode, ended.stdout + ended.stderr


def table(bite: Bite) -> str:
    """One line of the table."""
    words = {PASSED: "green", FAILED: "red"}
    return (f"{bite.id:6} {bite.tests:4} tests   as it stands: {words.get(bite.whole, 'did not run'):11} "
            f"broken: {words.get(bite.broken, 'did not run'):11} {bite.seconds:5.1f} s{'' if bite.well else '   <--'}")


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("ids", nargs="*", help="instead of drawing")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--count", type=int, default=20)
    given = arguments.parse_args()
    drawn = [load(files()[name]) for name in given.ids] if given.ids else draw(given.seed, given.count)
    found = []
    for bite in bites([each for each in drawn if each.breaks], collect()):
        found.append(bite)
        print(table(bite), flush=True)
        if not bite.well:
            print(bite.said[-3000:], flush=True)
    red = sum(bite.well for bite in found)
    print(f"{len(found)} requirements broken, {red} noticed by their tests.")
    return 0 if found and red == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
