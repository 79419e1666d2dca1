"""Whole transcripts of what the migration service refuses and fails, against the lab: what a person reads at 2 a.m.

A transcript is like those of test_transcripts.py; between the commands stand lines for what happens meanwhile:

    % fault {"kind": …}     a fault by hand, as docs/lab.md lists them
    % pass 3600             so many seconds go by
    % list anna ben         the batch's file names these mailboxes
    % desk Start-…          somebody types this line into PowerShell
    % kind cutover          the organisation and the playbook; staged without it
    % playbook discovery    another playbook
    % mailboxes anna ben    whom it has
    # holds: B-33            the first line: the requirements whose failure it shows

To write them anew after a wanted change: `python -m tests.cli.test_service_transcripts`, then read the diff.
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

from engine import rehearse
from engine.cli import main
from engine.world import InlineWorkers, World
from tests.cli.test_transcripts import HOLDS, marked
from tests.modules.lab_cloud import Lab
from tests.modules.service_stand import ENDPOINT, address, list_file, organisation, service

#: One call at a time: what is parked is then told in the order of the tasks, and not in that of a busy machine.
WORLD = World(environment={"USER": "maria"}, workers=InlineWorkers)
HERE = Path(__file__).parent / "service"
#: Lines that are to be copied whole.
LONG = ("$ ", "% ", "mailmove ", "New-MigrationEndpoint ")
SETTINGS = ("% kind ", "% mailboxes ", "% playbook ")
TRANSCRIPTS = sorted(HERE.glob("*.txt"))
#: Times and digests move with every change of the lab's story; what a transcript is about is the words.
CHANGING = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?(?: UTC|Z|\+00:00)?)?|Digest [0-9a-f]{16}")


def replay(text: str, folder: Path) -> str:
    """The transcript as it reads now."""
    told = [line for line in text.splitlines() if line[:2] in ("$ ", "% ", "# ")]
    settings = dict(line[2:].partition(" ")[::2] for line in told if line.startswith(SETTINGS))
    kind, names = settings.get("kind", "staged"), settings.get("mailboxes", "anna ben carla").split()
    described = organisation(kind, {name: {} for name in names})
    described["vars"]["endpoint_name"] = ENDPOINT
    with service(kind, folder, {name: {} for name in names}) as lab:
        home = folder / "acme"
        home.mkdir()
        name = settings.get("playbook", "cutover" if kind == "cutover" else "playbook")
        shutil.copyfile(HERE / f"{name}.yml", home / "playbook.yml")
        if kind == "staged":
            list_file(folder, names)
        else:
            described["rows"]["batches"] = [{"batch": "Batch01", "name": "Batch01"}]
        (folder / "inventory.yml").write_text(json.dumps({"migration": "acme", **described}))
        rehearse.write_inventory(folder / "inventory.yml", lab.ready, home)
        before = Path.cwd()
        os.chdir(home)
        try:
            return "\n".join(line for said in told for line in _played(said, lab, home))
        finally:
            os.chdir(before)


def _played(line: str, lab: Lab, home: Path) -> list[str]:
    if line.startswith(HOLDS):
        return [line]
    if line.startswith("% "):
        word, _, rest = line[2:].partition(" ")
        if word == "fault":
            lab.control("/fault", json.loads(rest))
        elif word == "pass":
            lab.pass_time(float(rest))
        elif word == "desk":
            said = lab.control("/desk", {"script": rest, "user": "CORP\\migadmin",
                                         "password": lab.ready["connections"]["directory"]["password"]})
            assert said["ok"], said
        elif word == "list":
            list_file(home, rest.split())
        else:
            assert line.startswith(SETTINGS), line
        return [line]
    screen = io.StringIO()
    words = shlex.split(line)[2:]
    code = main([*words, "--state", "state"] if words[0] not in ("check", "doc") else words, screen, screen,
                WORLD)
    said = CHANGING.sub(lambda found: "WHEN" if found[0][0].isdigit() else "Digest …",
                        screen.getvalue().replace(str(home), "HERE").replace(" --state state", ""))
    return [line, said.rstrip("\n"), *([f"[exit {code}]"] if code else []), ""]


@pytest.mark.parametrize("path", [marked(path) for path in TRANSCRIPTS])
def test_transcript(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert replay(text, tmp_path) == text


def test_the_reports_of_what_failed_are_kept_whole_and_for_their_owner_only(tmp_path: Path) -> None:
    replay((HERE / "failures.txt").read_text(encoding="utf-8"), tmp_path)
    kept = tmp_path / "acme" / "kept"
    assert [path.name for path in sorted(kept.iterdir()) if path.stat().st_mode & 0o777 == 0o600] == [
        "failures.csv", "failures.json"]
    found = {each["address"]: each for each in json.loads((kept / "failures.json").read_text())["failures"]}
    anna, carla = found[address("anna")], found[address("carla")]
    assert anna["error"] == "E08" and anna["helps"] == "fix first" and anna["to_do"]
    assert anna["statistics"]["Report"] and anna["statistics"]["Error"].startswith("MigrationPermanentException")
    assert carla["skipped"] == 3 and carla["statistics"]["SkippedItems"] == []
    assert (kept / "failures.csv").read_text("utf-8-sig").startswith("address,batch,status,error,helps")


def test_no_line_of_ours_is_wider_than_the_screen() -> None:
    for path in TRANSCRIPTS:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert len(line) <= 100 or line.lstrip().startswith(LONG), (path.name, line)


if __name__ == "__main__":
    for transcript in TRANSCRIPTS:
        with tempfile.TemporaryDirectory() as temporary:
            now = replay(transcript.read_text(encoding="utf-8"), Path(temporary).resolve())
        transcript.write_text(now, encoding="utf-8")
