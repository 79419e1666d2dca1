"""Do the canaries sing? Plants each leak of leaks.yml in a copy of the tree; the rig must find it.

    python -m tests.canaries.teeth               all of them
    python -m tests.canaries.teeth journal log   those whose sink holds one of these words

A leak counts as found when the rig ends with hits, and not with anything else: a tree that no longer runs has no leak.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.requirements.evidence import Break
from tests.requirements.teeth import copied

HERE = Path(__file__).parent
#: What `python -m tests.canaries` ends with.
CLEAN, HITS = 0, 1


@dataclass(frozen=True)
class Leak:
    """One mistake, and the paths on which it lets a secret out."""

    sink: str
    leak: str
    paths: str
    change: Break
    form: str


def leaks() -> list[Leak]:
    found = yaml.safe_load((HERE / "leaks.yml").read_text(encoding="utf-8"))
    return [Leak(each["sink"], each["leak"], each["paths"], Break(each["file"], each["find"], each["put"]),
                 each.get("form", "plain"))
            for each in found]


def planted(chosen: Sequence[Leak], copy: Path) -> Iterator[tuple[Leak, int, str, float]]:
    """Each leak in turn: the rig's exit code, what it said, seconds."""
    for leak in chosen:
        place = copy / leak.change.file
        text = place.read_text(encoding="utf-8")
        place.write_text(leak.change.applied(text), encoding="utf-8")
        begun = time.monotonic()
        try:
            code, said = rig(copy, leak.paths, leak.form)
        finally:
            place.write_text(text, encoding="utf-8")
        yield leak, code, said, time.monotonic() - begun


def rig(copy: Path, paths: str, form: str) -> tuple[int, str]:
    """The rig of the copy, on some paths and in one spelling."""
    environment = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1",
                   **{name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}}
    ended = subprocess.run([sys.executable, "-m", "tests.canaries", "--paths", paths,
                            "--form", form], cwd=copy, env=environment,
                           capture_output=True, text=True)
    return ended.returncode, ended.stdout + ended.stderr


def main() -> int:
    words = sys.argv[1:]
    chosen = [leak for leak in leaks() if not words or any(word in f"{leak.sink} {leak.leak}" for word in words)]
    found = 0
    with tempfile.TemporaryDirectory(prefix="mailmove-leaks-") as folder:
        copy = copied(Path(folder))
        paths = sorted({name.strip() for leak in chosen for name in leak.paths.split(",")})
        code, said = rig(copy, ", ".join(paths), "plain")
        if code != CLEAN:
            print(f"as it stands, the tree is not clean:\n{said[-3000:]}")
            return 1
        for leak, code, said, seconds in planted(chosen, copy):
            found += code == HITS
            print(f"{'found' if code == HITS else 'MISSED':7} {seconds:5.1f} s  {leak.sink}: {leak.leak}", flush=True)
            if code != HITS:
                print(said[-1500:], flush=True)
    print(f"{found} leaks found of {len(chosen)} planted, in {len({leak.sink for leak in chosen})} sinks.")
    return 0 if found == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
