"""Changes one token after the other in a copy of the tree; the tests of the engine have to turn red.

    python -m tests.mutants --count 150 --seed 1        drawn by the seed; goes on where it was stopped
    python -m tests.mutants --again                     of that draw those that survived, anew
    python -m tests.mutants --again --whole             those meet the whole migrations of tests/whole
    python -m tests.mutants --only befc8db5 eaf12907    of that draw these

First the tests must be green on the tree as it stands. Then each mutant meets those tests of the engine's run that find
most of its area in the least time; those that survive meet all the others as well. What hypothesis draws is the same
each time. A test that stands still for many times as long as any of them takes has found it too. Verdicts lie in
.work/; prints found / drawn by area, and every mutant that survived.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.mutants.places import AREAS, ROOT, Mutant, drawn, places
from tests.requirements.teeth import copied

#: area → the tests that meet it first
FIRST = {
    "guards": ("guard_rules", "guards", "guard_staged", "guard_limits"),
    "journal": ("journal_fold", "undo", "operators", "journal", "execute"),
    "execution": ("execute", "slow_services", "heard", "by_record", "facts", "handing", "gates", "undo", "operators",
                  "guard_limits", "laws"),
}
WHOLE = ("tests/whole",)
#: How long no test may end, seconds: the slowest takes some ten on a busy machine.
SILENT_SECONDS = 120.0
#: What a run may take of memory and of one file, bytes: a loop without an end is not to take the machine with it.
MEMORY, FILE = 8 << 30, 1 << 30


def met_by(area: str, tree: Path = ROOT) -> tuple[Sequence[str], Sequence[str]]:
    """The tests of the engine's run in a tree: those that a mutant of the area meets first, and the others."""
    first = [f"tests/run/test_{name}.py" for name in FIRST[area]]
    every = sorted(path.relative_to(tree).as_posix() for path in (tree / "tests/run").glob("test_*.py"))
    return first, [each for each in every if each not in first]


def red(copy: Path, tests: Sequence[str], compiled: str = "1") -> str:
    """The test that failed, "" when none did, in a copy of the tree; `compiled` "": bytecode is left for the next."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV_"))}
    environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": compiled, "PYTHONHASHSEED": "0"}
    words = [sys.executable, "-m", "pytest", "-x", "-v", "-rfE", "-p", "no:cacheprovider", "-p", "no:xdist",
             "--hypothesis-seed=0", "-o", "tmp_path_retention_policy=none", *tests]
    shutil.rmtree(copy / ".hypothesis", ignore_errors=True)  # what failed for another mutant is not tried first
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        running = subprocess.Popen(words, cwd=copy, env=environment, stdout=said, stderr=subprocess.STDOUT,
                                   start_new_session=True, preexec_fn=_bounded)
        size, since = 0, time.monotonic()
        while running.poll() is None:
            time.sleep(0.1)
            now = os.fstat(said.fileno()).st_size
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > SILENT_SECONDS:
                break
        still = running.poll() is None
        if still or running.returncode:
            _end(running)  # and the processes that its tests have started
        said.seek(0)
        lines = said.read().splitlines()
    if still:
        return f"stood still after {(lines or [''])[-1][:60]}"
    if running.returncode == 0:
        return ""
    told = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return (told or lines[-1:] or [f"ended with {running.returncode}"])[0][:160]


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))


def _end(running: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(running.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    running.wait()


def met(copy: Path, mutant: Mutant, tests: Sequence[str]) -> dict[str, Any]:
    """What became of a mutant: `by` is the test that found it, "" when none did."""
    place, began = copy / mutant.file, time.monotonic()
    whole, times = place.read_text(encoding="utf-8"), place.stat()
    place.write_text(mutant.text, encoding="utf-8")
    # the bytecode of the file as it was must not be met: it is known by the second of its time, and its size
    os.utime(place, (times.st_atime + 3600, times.st_mtime + 3600))
    try:
        by = red(copy, tests)
    finally:
        place.write_text(whole, encoding="utf-8")
        os.utime(place, (times.st_atime, times.st_mtime))
    return {"by": by, "seconds": time.monotonic() - began}


def every() -> Iterator[Any]:
    for files in AREAS.values():
        for file in files:
            yield from places(file, (ROOT / file).read_text(encoding="utf-8"))


def recorded(verdicts: Path) -> dict[str, dict[str, Any]]:
    """The last verdict of each mutant met before."""
    if not verdicts.exists():
        return {}
    found = map(json.loads, verdicts.read_text(encoding="utf-8").splitlines())
    return {each["id"]: each for each in found}


def table(mutants: Iterable[Mutant], known: dict[str, dict[str, Any]]) -> str:
    lines, mutants = [], list(mutants)
    for area in AREAS:
        mine = [mutant for mutant in mutants if mutant.area == area and mutant.id in known]
        there = sum(1 for mutant in mine if known[mutant.id]["by"])
        lines.append(f"{area:10} {there} found / {len(mine)}, "
                     f"{sum(known[mutant.id]['seconds'] for mutant in mine):.0f} seconds")
    for mutant in mutants:
        if mutant.id in known and not known[mutant.id]["by"]:
            lines.append(f"survived {mutant.id} {mutant}")
    return "\n".join(lines)


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--count", type=int, default=150)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--again", action="store_true", help="those that survived")
    arguments.add_argument("--only", nargs="+", default=[], metavar="ID", help="these, whatever is known of them")
    arguments.add_argument("--whole", action="store_true", help="meet tests/whole")
    given = arguments.parse_args()
    mutants = list(drawn(list(every()), given.count, given.seed))
    verdicts = ROOT / ".work/mutants-verdicts.jsonl"
    known = recorded(verdicts)
    asked = [mutant for mutant in mutants if mutant.id in given.only] if given.only else mutants
    for mutant in asked:
        if given.only or (given.again and mutant.id in known and not known[mutant.id]["by"]):
            del known[mutant.id]
    with tempfile.TemporaryDirectory(prefix="mailmove-mutants-") as temporary:
        copy = copied(Path(temporary))
        began = time.monotonic()
        if by := red(copy, WHOLE if given.whole else [each for step in met_by("execution", copy) for each in step],
                     compiled=""):
            print(f"red as the tree stands: {by}")
            return 1
        print(f"green as the tree stands, {time.monotonic() - began:.0f} seconds", flush=True)
        for step in (1, 2):
            for mutant in asked:
                before = known.get(mutant.id, {"by": "", "step": 0, "seconds": 0})
                if before["by"] or before["step"] >= step:
                    continue
                tests = WHOLE if given.whole else met_by(mutant.area, copy)[step - 1]
                verdict = {"id": mutant.id, "step": 2 if given.whole else step, **met(copy, mutant, tests)}
                verdict["seconds"] = round(before["seconds"] + verdict["seconds"], 1)
                known[mutant.id] = verdict
                with verdicts.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(verdict) + "\n")
                word = "found   " if verdict["by"] else "SURVIVED"
                print(f"{word} {mutant.id} {verdict['seconds']:6.1f} s {mutant}\n    {verdict['by']}", flush=True)
    print(table(mutants, known))
    return 0


if __name__ == "__main__":
    sys.exit(main())
