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

import json
import shutil
from pathlib import Path

import pytest

from engine.world import World
from tests.cli import replay
from tests.modules.lab_playbook import migrating

HERE = Path(__file__).parent / "people"
REQUIREMENTS = {"addresses": ["C-06"], "licences": ["B-47", "C-22"], "use": ["B-44"], "names": ["C-29"],
                "forwarding": ["S-38"], "decommission": ["B-51", "B-52", "B-53", "C-25", "S-37"]}
WORLD = World(environment={"USER": "maria"})


def played(path: Path, folder: Path) -> str:
    """The transcript as it reads now."""
    text = path.read_text(encoding="utf-8")
    told = replay.settings(text, **{"kind": "staged", "with": "{}"})
    with migrating(told["kind"], folder, **json.loads(told["with"])) as migration:
        shutil.copyfile(path.with_suffix(".yml"), migration.folder / "playbook.yml")

        def meanwhile(word: str, rest: str) -> None:
            if word == "fault":
                migration.lab.post("/fault", **json.loads(rest))
            elif word == "pass":
                migration.lab.post("/clock/advance", seconds=float(rest))
            elif word == "desk":
                assert migration.lab.post("/desk", script=rest)["ok"], rest
            else:
                assert word in told, word

        return replay.replayed(text, migration.folder, WORLD, meanwhile)


@pytest.mark.parametrize("path", [replay.marked(HERE / f"{name}.txt", ids) for name, ids in REQUIREMENTS.items()])
def test_transcript(path: Path, tmp_path: Path) -> None:
    assert played(path, tmp_path) == path.read_text(encoding="utf-8")


def test_no_line_of_ours_is_wider_than_the_screen() -> None:
    assert replay.too_wide(HERE.glob("*.txt")) == []


def test_every_transcript_is_played() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == set(REQUIREMENTS) == {p.stem for p in HERE.glob("*.yml")}


if __name__ == "__main__":
    replay.write_anew((HERE / f"{name}.txt" for name in REQUIREMENTS), played)
