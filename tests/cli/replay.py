"""Replays a transcript against a lab: what is typed, what answers, and what happens between the commands.

    # holds: B-33            the first line: the requirements whose failure it shows
    $ mailmove apply         what a person types, and below it all that the screen shows
    [exit 4]                 where it is not 0
    % fault {"kind": …}      what happens meanwhile; each kind of transcript says its own words

What moves with every change of the lab's story – times, digests, identities – is shown as one word.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.world import World

HOLDS = "# holds: "
#: What stands for what changes, by the group of the pattern that found it.
_SHOWN = {"when": "WHEN", "digest": "Digest …", "thumbprint": "THUMBPRINT", "id": "ID", "other": "…"}
_CHANGING = re.compile(
    r"(?P<when>\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?(?: UTC|Z|\+00:00)?)?)|(?P<digest>Digest [0-9a-f]{16})"
    r"|(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})|(?P<thumbprint>\b[0-9A-F]{40}\b)"
    r"|(?P<other>MS=ms\d+|127\.0\.0\.1:\d+)")
#: Lines that are to be copied whole, and may be wider than the screen.
COPIED = ("$ ", "% ", "mailmove ", "New-MigrationEndpoint ")


def marked(path: Path, ids: Sequence[str] = ()) -> Any:
    """The transcript as a test's parameter, with the requirements it names, and those given."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    held = [*ids, *(first.removeprefix(HOLDS).split() if first.startswith(HOLDS) else ())]
    return pytest.param(path, id=path.stem, marks=[pytest.mark.requirement(*held)] if held else [])


def settings(text: str, **words: str) -> dict[str, str]:
    """What the lines `% word rest` set beforehand; `words`: those that do, with what they are without one."""
    lines = [line[2:].partition(" ") for line in text.splitlines() if line.startswith("% ")]
    return {**words, **{word: rest for word, _, rest in lines if word in words}}


def typed(words: Sequence[str], world: World) -> tuple[int, str]:
    """One command line in this folder, its journal beside it: exit code, and all that is shown."""
    screen = io.StringIO()
    state = ["--state", "state"] if words[0] not in ("check", "doc") else []
    return main([*words, *state], screen, screen, world), screen.getvalue()


def replayed(text: str, home: Path, world: World, meanwhile: Callable[[str, str], None]) -> str:
    """The transcript as it reads now, typed in `home`; `meanwhile` is told the words of each `%` line."""
    before = Path.cwd()
    os.chdir(home)
    try:
        return "\n".join(line for said in text.splitlines() if said.startswith(("$ ", "% ", HOLDS))
                         for line in _played(said, home, world, meanwhile))
    finally:
        os.chdir(before)


def _played(line: str, home: Path, world: World, meanwhile: Callable[[str, str], None]) -> list[str]:
    if line.startswith("% "):
        word, _, rest = line[2:].partition(" ")
        meanwhile(word, rest)
        return [line]
    if not line.startswith("$ "):
        return [line]
    code, said = typed(shlex.split(line)[2:], world)
    said = said.replace(" --state state", "").replace(str(home), "HERE")
    shown = _CHANGING.sub(lambda found: _SHOWN[str(found.lastgroup)], said)
    return [line, shown.rstrip("\n"), *([f"[exit {code}]"] if code else []), ""]


def too_wide(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Lines of ours that do not fit the screen."""
    return [(path.name, line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()
            if len(line) > 100 and not line.lstrip().startswith(COPIED)]


def write_anew(paths: Iterable[Path], replay: Callable[[Path, Path], str]) -> None:
    """After a wanted change: each transcript as it reads now. Then read the diff."""
    for path in paths:
        with tempfile.TemporaryDirectory() as temporary:
            now = replay(path, Path(temporary).resolve())
        path.write_text(now, encoding="utf-8")
