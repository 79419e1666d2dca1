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
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.app import data_folder
from engine.cli import main
from engine.world import StillClock, World

HERE = Path(__file__).parent
TRANSCRIPTS = sorted((HERE / "transcripts").glob("*.txt"))
HOLDS = "# holds: "


def replay(text: str, folder: Path) -> str:
    """The transcript as it reads now."""
    shutil.copytree(HERE / "broken", folder / "broken")
    world = World(clock=StillClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC)), environment={"USER": "maria"})
    out = [line for line in text.splitlines()[:1] if line.startswith(HOLDS)]
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


def marked(path: Path) -> object:
    """The transcript as a test's parameter, marked with the requirements it names."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    held = first.removeprefix(HOLDS).split() if first.startswith(HOLDS) else []
    return pytest.param(path, id=path.stem, marks=[pytest.mark.requirement(*held)] if held else [])


@pytest.mark.parametrize("path", [marked(path) for path in TRANSCRIPTS])
def test_transcript(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert replay(text, tmp_path) == text


def test_every_command_ends_with_what_to_type_next() -> None:
    for path in TRANSCRIPTS:
        for part in path.read_text(encoding="utf-8").split("$ mailmove")[1:]:
            if "--help" in part.splitlines()[0] or "--json" in part.splitlines()[0]:
                continue
            last = [line for line in part.splitlines()[1:] if line and not line.startswith("[exit")][-1]
            assert last.startswith("    mailmove "), (path.name, last)


if __name__ == "__main__":
    for transcript in TRANSCRIPTS:
        with tempfile.TemporaryDirectory() as temporary:
            now = replay(transcript.read_text(encoding="utf-8"), Path(temporary).resolve())
        transcript.write_text(now, encoding="utf-8")
