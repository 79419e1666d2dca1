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

import io
import json
import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from engine import rehearse
from engine.cli import main
from engine.world import InlineWorkers, World
from tests.modules.lab_cloud import PEOPLE, Lab, description
from tests.modules.lab_source import source

HERE = Path(__file__).parent / "source"
TRANSCRIPTS = sorted(HERE.glob("*.txt"))
#: Times, digests and thumbprints move with every run of the lab; what a transcript is about is the words.
CHANGING = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?(?: UTC|Z|\+00:00)?)?"
                      r"|Digest [0-9a-f]{16}|[0-9A-F]{40}")
#: id → the transcripts in which its failure is read
HELD = {"unpublished": ("B-03",), "certificate": ("B-04", "C-08"), "rights": ("B-07", "S-04"),
        "older": ("B-03", "B-07", "C-09"), "mailboxes": ("B-09", "C-13", "C-27"),
        "connect": ("B-05", "B-19", "C-11"), "names": ("B-23",)}


def replay(text: str, folder: Path) -> str:
    """The transcript as it reads now."""
    told = [line for line in text.splitlines() if line[:2] in ("$ ", "% ")]
    more: dict[str, Any] = {"exchange": "2007", "preparation": {}, "published": {}}
    ours: dict[str, Any] = {"playbook": "playbook.yml", "vars": {}, "group": {}}
    mailboxes = description("staged")["rows"]["mailboxes"]
    for line in told:
        word, _, rest = line[2:].partition(" ")
        for settings in (more, ours):
            if line.startswith("% ") and word in settings:
                settings[word] = json.loads(rest) if rest.startswith("{") else rest
        if line.startswith("% row "):
            name, _, fields = rest.partition(" ")
            mailboxes[PEOPLE.index(name)] |= json.loads(fields)
    exchange = more.pop("exchange")
    with source(folder, exchange, rows={"mailboxes": mailboxes}, **more) as lab:
        home = folder / "acme"
        home.mkdir()
        shutil.copyfile(HERE / ours["playbook"], home / "playbook.yml")
        described = description("staged") | {"exchange": exchange}
        described["rows"]["batches"] = [{"batch": "Batch01", "name": "Batch01"}]
        described["vars"] |= ours["vars"]
        described["rows"]["groups"][0] |= ours["group"]
        (folder / "inventory.yml").write_text(json.dumps({"migration": "acme", **described}))
        rehearse.write_inventory(folder / "inventory.yml", lab.ready, home)
        before = Path.cwd()
        os.chdir(home)
        try:
            return "\n".join(line for said in told for line in _played(said, lab, home))
        finally:
            os.chdir(before)


def _played(line: str, lab: Lab, home: Path) -> list[str]:
    if line.startswith("% "):
        word, _, rest = line[2:].partition(" ")
        if word == "fault":
            lab.control("/fault", json.loads(rest))
        elif word == "type":
            for row in json.loads(_said(["status", "--json"])[1])["parked"]:
                if (row.get("handover") or {}).get("kind") == "powershell":
                    assert lab.control("/desk", {"script": row["handover"]["text"]})["errors"] == []
            lab.pass_time(3600)
        return [line]
    code, said = _said(shlex.split(line)[2:])
    text = CHANGING.sub(_changing, said)
    return [line, text.replace(str(home), "HERE").replace(" --state state", "").rstrip("\n"),
            *([f"[exit {code}]"] if code else []), ""]


def _changing(found: re.Match[str]) -> str:
    return "Digest …" if found[0].startswith("Digest") else "WHEN" if "-" in found[0] else "THUMBPRINT"


def _said(words: list[str]) -> tuple[int, str]:
    screen = io.StringIO()
    state = ["--state", "state"] if words[0] != "check" else []
    # One call at a time: directory and public name answer as they please, and a transcript has one order.
    world = World(environment={"USER": "maria"}, workers=InlineWorkers)
    return main([*words, *state], screen, screen, world), screen.getvalue()


def held() -> list[Any]:
    return [pytest.param(path, id=path.stem, marks=pytest.mark.requirement(*HELD[path.stem])) for path in TRANSCRIPTS]


@pytest.mark.parametrize("path", held())
def test_transcript(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert replay(text, tmp_path) == text


if __name__ == "__main__":
    for transcript in TRANSCRIPTS:
        with tempfile.TemporaryDirectory() as temporary:
            now = replay(transcript.read_text(encoding="utf-8"), Path(temporary).resolve())
        transcript.write_text(now, encoding="utf-8")
