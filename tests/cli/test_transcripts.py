"""Whole terminal transcripts: what a person types, what answers, and the exit code, compared letter by letter.

A transcript is `$ mailmove …` lines, each followed by its output and `[exit N]` where N is not 0. The commands of one
file run one after the other in an empty folder that holds a copy of `broken/`. A first line `# holds: S-10 …` names the
requirements whose failure it shows. To write them anew after a wanted
change: `python -m tests.cli.test_transcripts`, then read the diff.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.app import data_folder
from engine.cli import main
from engine.world import StillClock, World
from tests.cli import replay

HERE = Path(__file__).parent
TRANSCRIPTS = sorted((HERE / "transcripts").glob("*.txt"))


def played(path: Path, folder: Path) -> str:
    """The transcript as it reads now, in a folder of its own and without any server."""
    text = path.read_text(encoding="utf-8")
    shutil.copytree(HERE / "broken", folder / "broken")
    world = World(clock=StillClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC)), environment={"USER": "maria"})
    out = [line for line in text.splitlines()[:1] if line.startswith(replay.HOLDS)]
    before = Path.cwd()
    os.chdir(folder)
    try:
        for line in text.splitlines():
            if not line.startswith("$ mailmove"):
                continue
            screen = io.StringIO()
            code = main(shlex.split(line)[2:], screen, screen, world)
            said = screen.getvalue().replace(str(data_folder()), "SHIPPED").replace(str(folder), "HERE")
            out += [line, said.rstrip("\n"), *([f"[exit {code}]"] if code else []), ""]
    finally:
        os.chdir(before)
    return "\n".join(out)


@pytest.mark.parametrize("path", [replay.marked(path) for path in TRANSCRIPTS])
def test_transcript(path: Path, tmp_path: Path) -> None:
    assert played(path, tmp_path) == path.read_text(encoding="utf-8")


def test_every_command_ends_with_what_to_type_next() -> None:
    for path in TRANSCRIPTS:
        for part in path.read_text(encoding="utf-8").split("$ mailmove")[1:]:
            if "--help" in part.splitlines()[0] or "--json" in part.splitlines()[0]:
                continue
            last = [line for line in part.splitlines()[1:] if line and not line.startswith("[exit")][-1]
            assert last.startswith("    mailmove "), (path.name, last)


if __name__ == "__main__":
    replay.write_anew(TRANSCRIPTS, played)
