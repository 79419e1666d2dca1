"""Whole transcripts of a source that is not prepared, against the lab: what a person reads, types, and reads then.

A transcript is like those of test_transcripts.py; between the commands stand lines for what happens meanwhile:

    % exchange 2003          the first lines: the organisation, as the lab's description has it
    % preparation {…}
    % published {…}
    % row anna {"um": "4711"}   more fields of a mailbox
    % playbook connect.yml   the playbook; playbook.yml without it
    % vars {…}               other answers in the inventory than are true
    % group {…}              what the inventory says of the group, and the source does not
    % fault {"kind": …}      a fault by hand, as docs/lab.md lists them
    % type                   a person types every script that is handed over

To write them anew after a wanted change: `python -m tests.cli.test_source_transcripts`, then read the diff.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine import rehearse
from engine.world import InlineWorkers, World
from tests.cli import replay
from tests.modules.lab_cloud import PEOPLE, description
from tests.modules.lab_source import source

#: One call at a time: directory and public name answer as they please, and a transcript has one order.
WORLD = World(environment={"USER": "maria"}, workers=InlineWorkers)
HERE = Path(__file__).parent / "source"
TRANSCRIPTS = sorted(HERE.glob("*.txt"))
#: id → the transcripts in which its failure is read
HELD = {"unpublished": ("B-03",), "certificate": ("B-04", "C-08"), "rights": ("B-07", "S-04"),
        "older": ("B-03", "B-07", "C-09"), "mailboxes": ("B-09", "C-13", "C-27"),
        "connect": ("B-05", "B-19", "C-11"), "names": ("B-23",)}


def played(path: Path, folder: Path) -> str:
    """The transcript as it reads now."""
    text = path.read_text(encoding="utf-8")
    told = replay.settings(text, exchange="2007", preparation="{}", published="{}", playbook="playbook.yml", vars="{}",
                           group="{}")
    mailboxes = description("staged")["rows"]["mailboxes"]
    for line in text.splitlines():
        if line.startswith("% row "):
            name, _, fields = line.removeprefix("% row ").partition(" ")
            mailboxes[PEOPLE.index(name)] |= json.loads(fields)
    more: dict[str, Any] = {name: json.loads(told[name]) for name in ("preparation", "published")}
    with source(folder, told["exchange"], rows={"mailboxes": mailboxes}, **more) as lab:
        home = folder / "acme"
        home.mkdir()
        shutil.copyfile(HERE / told["playbook"], home / "playbook.yml")
        described = description("staged") | {"exchange": told["exchange"]}
        described["rows"]["batches"] = [{"batch": "Batch01", "name": "Batch01"}]
        described["vars"] |= json.loads(told["vars"])
        described["rows"]["groups"][0] |= json.loads(told["group"])
        (folder / "inventory.yml").write_text(json.dumps({"migration": "acme", **described}))
        rehearse.write_inventory(folder / "inventory.yml", lab.ready, home)

        def meanwhile(word: str, rest: str) -> None:
            if word == "fault":
                lab.control("/fault", json.loads(rest))
            elif word == "type":
                for row in json.loads(replay.typed(["status", "--json"], WORLD)[1])["parked"]:
                    if (row.get("handover") or {}).get("kind") == "powershell":
                        assert lab.control("/desk", {"script": row["handover"]["text"]})["errors"] == []
                lab.pass_time(3600)
            else:
                assert word in (*told, "row"), word

        return replay.replayed(text, home, WORLD, meanwhile)


@pytest.mark.parametrize("path", [replay.marked(path, HELD[path.stem]) for path in TRANSCRIPTS])
def test_transcript(path: Path, tmp_path: Path) -> None:
    assert played(path, tmp_path) == path.read_text(encoding="utf-8")


if __name__ == "__main__":
    replay.write_anew(TRANSCRIPTS, played)
