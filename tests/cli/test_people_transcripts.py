"""Whole transcripts of what can go wrong with letters, people and the end of the old servers, against the lab.

A transcript `people/NAME.txt` belongs to the playbook `people/NAME.yml` beside it. Between the commands stand lines for
what happens meanwhile:

    % kind staged           the first line: the organisation of three people
    % with {"cloud_users": […]}      what its description has besides
    % fault {"kind": …}     a fault by hand, as docs/lab.md lists them
    % pass 3600             so many seconds go by
    % desk SCRIPT           a person types it at the source's desk

To write them anew after a wanted change: `python -m tests.cli.test_people_transcripts`, then read the diff.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path

import pytest

from engine.cli import main
from engine.world import World
from tests.modules.lab_playbook import Migration, migrating

HERE = Path(__file__).parent / "people"
REQUIREMENTS = {"addresses": ["C-06"], "licences": ["B-47", "C-22"], "use": ["B-44"], "names": ["C-29"],
                "forwarding": ["S-38"], "decommission": ["B-51", "B-52", "B-53", "C-25", "S-37"]}
TRANSCRIPTS = [pytest.param(HERE / f"{name}.txt", id=name, marks=pytest.mark.requirement(*ids))
               for name, ids in REQUIREMENTS.items()]
CHANGING = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?(?: UTC|Z|\+00:00)?)?|Digest [0-9a-f]{16}"
                      r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def replay(path: Path, folder: Path) -> str:
    """The transcript as it reads now."""
    told = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:2] in ("$ ", "% ")]
    settings = dict(line[2:].partition(" ")[::2] for line in told if line.startswith(("% kind", "% with")))
    with migrating(settings["kind"], folder, **json.loads(settings.get("with", "{}"))) as migration:
        shutil.copyfile(path.with_suffix(".yml"), migration.folder / "playbook.yml")
        before = Path.cwd()
        os.chdir(migration.folder)
        try:
            return "\n".join(line for said in told for line in _played(said, migration))
        finally:
            os.chdir(before)


def _played(line: str, migration: Migration) -> list[str]:
    if line.startswith("% "):
        word, _, rest = line[2:].partition(" ")
        if word == "fault":
            migration.lab.post("/fault", **json.loads(rest))
        elif word == "pass":
            migration.lab.post("/clock/advance", seconds=float(rest))
        elif word == "desk":
            assert migration.lab.post("/desk", script=rest)["ok"], rest
        else:
            assert word in ("kind", "with"), line
        return [line]
    screen = io.StringIO()
    code = main([*shlex.split(line)[2:], "--state", "state"], screen, screen, World(environment={"USER": "maria"}))
    said = screen.getvalue().replace(str(migration.folder), "HERE").replace(" --state state", "")
    said = CHANGING.sub(lambda found: "WHEN" if found[0][0].isdigit() and found[0][4] == "-" and len(found[0]) < 30
                        else "Digest …" if found[0].startswith("Digest") else "ID", said)
    return [line, said.rstrip("\n"), *([f"[exit {code}]"] if code else []), ""]


@pytest.mark.parametrize("path", TRANSCRIPTS)
def test_transcript(path: Path, tmp_path: Path) -> None:
    assert replay(path, tmp_path) == path.read_text(encoding="utf-8")


def test_no_line_of_ours_is_wider_than_the_screen() -> None:
    for path in HERE.glob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert len(line) <= 100 or line.lstrip().startswith(("$ ", "% ", "mailmove ")), (path.name, line)


def test_every_transcript_is_played() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == set(REQUIREMENTS) == {p.stem for p in HERE.glob("*.yml")}


if __name__ == "__main__":
    for name in REQUIREMENTS:
        with tempfile.TemporaryDirectory() as temporary:
            now = replay(HERE / f"{name}.txt", Path(temporary).resolve())
        (HERE / f"{name}.txt").write_text(now, encoding="utf-8")
