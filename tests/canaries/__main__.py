"""Walks every failure path with canaries for secrets, and searches every byte: `make canaries`.

    python -m tests.canaries                          everything, in every spelling
    python -m tests.canaries --short                  every path once, spellings in turn: part of `make test`
    python -m tests.canaries --paths 'proxy, redirect'   only these functions of paths.py

Exit code 0: no secret was found, mailmove has not crashed; 1: one was found, and where; 2: it crashed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from engine.lab.echo import FORMS
from tests.canaries.canaries import ENCODINGS
from tests.canaries.paths import PATHS, Way, count
from tests.canaries.stage import Stage, staged


def walk(stage: Stage, paths: list[Way], *, short: bool, only: str = "") -> dict[str, float]:
    """Each path's seconds. In the short form a path that goes through the spellings takes two of them.

    `only`: that spelling and no other.
    """
    took: dict[str, float] = {}
    forms = list(FORMS)
    for number, each in enumerate(paths):
        begun = time.monotonic()
        for form in [only] if only else (forms[number % 12::12] if short else forms) if each.forms else [
                forms[number % len(forms)]]:
            stage.doing = f"{each.name} [{form}]"
            stage.calm()
            each.walk(stage, form)
        took[each.name] = time.monotonic() - begun
    return took


def chosen(names: str, *, short: bool) -> list[Way]:
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    return [each for each in PATHS if (each.walk.__name__ in wanted if wanted else each.short or not short)]


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--short", action="store_true")
    arguments.add_argument("--paths", default="", help="names of functions in paths.py")
    arguments.add_argument("--form", default="", choices=["", *FORMS], help="servers repeat in this spelling only")
    arguments.add_argument("--times", action="store_true", help="how long each path took")
    given = arguments.parse_args()
    paths = chosen(given.paths, short=given.short)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mailmove-canaries-") as folder, staged(Path(folder).resolve()) as stage:
        took = walk(stage, paths, short=given.short, only=given.form)
        hits = stage.hits()
        kinds = len({canary.kind for canary in stage.canaries}) + 2  # and the tokens, and the keys of digests
        searched = sum(map(len, (*stage.said.values(), *stage.watch.seen.values())))
        marks = stage.marks()
        crashed, children = stage.crashed, stage.watch.children
    for hit in hits:
        print(hit)
    for each in crashed:
        print(f"CRASHED {each}")
    if given.times:
        for name, seconds in sorted(took.items(), key=lambda each: -each[1]):
            print(f"{seconds:6.1f} s  {name}")
    print(f"{len(hits)} hits / {kinds} kinds of secrets × {len(ENCODINGS)} encodings × {count(paths)} failure paths "
          f"({marks} times a name stood where a secret was repeated; {searched / 2**20:.1f} MiB printed, "
          f"{children} children, {time.monotonic() - begun:.0f} s)")
    return 1 if hits else 2 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
