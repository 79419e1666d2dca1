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

import json
import shutil
from pathlib import Path

import pytest

from engine import rehearse
from engine.world import InlineWorkers, World
from tests.cli import replay
from tests.modules.service_stand import ENDPOINT, address, list_file, organisation, service

#: One call at a time: what is parked is then told in the order of the tasks, and not in that of a busy machine.
WORLD = World(environment={"USER": "maria"}, workers=InlineWorkers)
HERE = Path(__file__).parent / "service"
TRANSCRIPTS = sorted(HERE.glob("*.txt"))


def played(path: Path, folder: Path) -> str:
    """The transcript as it reads now."""
    text = path.read_text(encoding="utf-8")
    told = replay.settings(text, kind="staged", mailboxes="anna ben carla", playbook="")
    kind, names, home = told["kind"], told["mailboxes"].split(), folder / "acme"
    described = organisation(kind, {name: {} for name in names})
    described["vars"]["endpoint_name"] = ENDPOINT
    with service(kind, folder, {name: {} for name in names}) as lab:
        home.mkdir()
        name = told["playbook"] or ("cutover" if kind == "cutover" else "playbook")
        shutil.copyfile(HERE / f"{name}.yml", home / "playbook.yml")
        if kind == "staged":
            list_file(folder, names)
        else:
            described["rows"]["batches"] = [{"batch": "Batch01", "name": "Batch01"}]
        (folder / "inventory.yml").write_text(json.dumps({"migration": "acme", **described}))
        rehearse.write_inventory(folder / "inventory.yml", lab.ready, home)

        def meanwhile(word: str, rest: str) -> None:
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
                assert word in told, word

        return replay.replayed(text, home, WORLD, meanwhile)


@pytest.mark.parametrize("path", [replay.marked(path) for path in TRANSCRIPTS])
def test_transcript(path: Path, tmp_path: Path) -> None:
    assert played(path, tmp_path) == path.read_text(encoding="utf-8")


def test_the_reports_of_what_failed_are_kept_whole_and_for_their_owner_only(tmp_path: Path) -> None:
    played(HERE / "failures.txt", tmp_path)
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
    assert replay.too_wide(TRANSCRIPTS) == []


if __name__ == "__main__":
    replay.write_anew(TRANSCRIPTS, played)
