"""Whole transcripts against a live lab: what a person reads when something stands still, fails, or is refused.

Like those of test_transcripts.py; between the commands stand lines for what happens meanwhile:

    % kind cutover                the first lines: the organisation (staged without it), its playbook and its people
    % play domains.yml
    % until Go or no-go           goes on, answering what is asked, until a row is parked at a task of that name
    % through Go or no-go         the same, until that task is done for all its rows
    % fault {"kind": …}           a fault by hand, as docs/lab.md lists them
    % pass 3600                   so many seconds go by
    % dns contoso.com 300 MX 10 mail.contoso.com.       somebody replaces a record set
    % lag 3000                    so many seconds later the second name server follows the first
    % by hand                     beside `% play`: a person enters the DNS records
    % proof contoso.com           a person enters the proof of ownership at this name
    % mailmove …                  a command whose words are of no interest

To write them anew after a wanted change: `python -m tests.cli.test_lab_transcripts [NAME]`, then read the diff.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine import app
from engine.cli import main
from engine.laboratory import Lab, Workplace
from engine.people import Person
from engine.rehearse import organisation, write_inventory
from engine.world import World
from tests.cli import replay

HERE = Path(__file__).parent / "lab"
TRANSCRIPTS = sorted(HERE.glob("*.txt"))
WORLD = World(environment={"USER": "maria"})
#: Looks of `% until` and `% through` before the test says that what it waits for does not come.
LOOKS_MAX = 60


@dataclass
class Stage:
    """A small organisation in the lab, and a person at the command line."""

    lab: Lab
    person: Person
    #: the records last handed over
    proof: str = ""

    def meanwhile(self, word: str, rest: str) -> None:
        if word == "fault":
            self.lab.post("/fault", **json.loads(rest))
        elif word == "pass":
            self.lab.post("/clock/advance", seconds=float(rest))
        elif word == "dns":
            owner, ttl, kind, value = rest.split(" ", 3)
            self.person.desk.enter_records(f"{owner}. {ttl} IN {kind} {value}")
        elif word == "proof":
            self.proof = next((each["handover"]["text"] for each in self.person.status()["parked"]
                               if each.get("handover")), self.proof)
            self.person.desk.enter_records(self.proof.replace("contoso.com.", f"{rest}."))
        elif word == "mailmove":
            replay.typed(shlex.split(rest), WORLD)
        elif word == "until":
            self.go_on(lambda: any(each["task"].endswith(f" / {rest}") and not each.get("answer")
                                   for each in self.person.status()["parked"]), 900)
        elif word == "through":
            self.go_on(lambda: any(each["name"] == rest and each["counts"].get("done", 0) == each["rows"]
                                   for each in self.person.status()["tasks"]), 14400)
        else:
            assert word in ("kind", "play", "by", "lag"), word

    def go_on(self, there: Callable[[], bool], seconds: int) -> None:
        for _ in range(LOOKS_MAX):
            replay.typed(["apply", "--yes"], WORLD)
            if there():
                return
            if not self.person.answer():
                self.lab.post("/clock/advance", seconds=seconds)
        raise AssertionError("what the transcript waits for does not come")


def played(path: Path, folder: Path) -> str:
    """The transcript as it reads now."""
    text = path.read_text(encoding="utf-8")
    told = replay.settings(text, kind="staged", play="migration.yml", lag="0", by="")
    acme, home = folder / "acme", folder / "home"
    app.init(acme, told["kind"])
    shutil.copyfile(HERE / told["play"], acme / "playbook.yml")
    migration = app.load(app.place(acme, None, folder / "unused", WORLD), {}, WORLD)
    if told["by"] == "hand":
        inventory = acme / "inventory.yml"
        inventory.write_text(inventory.read_text().replace("provider: rfc2136", "provider: by_hand"))
    home.mkdir()
    described = {**organisation(migration), "dns_lag_seconds": told["lag"]}
    with Lab(home, described, seed=1, faults="none", environment=World().environment) as lab:
        write_inventory(migration.place.inventory, lab.ready, home)
        shutil.copyfile(acme / "playbook.yml", home / "playbook.yml")
        stage = Stage(lab, Person(_spoken, ["--state", "state"],
                                  Workplace(lab, lab.ready["connections"]["directory"])))
        return replay.replayed(text, home, WORLD, stage.meanwhile)


def _spoken(words: Sequence[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(list(words), out, err, WORLD), out.getvalue(), err.getvalue()


def requirements(path: Path) -> list[str]:
    """The ids a transcript's name begins with: `B-13_…`, `B-38_B-41_…`."""
    return re.findall(r"[BCS]-\d\d", path.stem)


@pytest.mark.parametrize("path", [replay.marked(path, requirements(path)) for path in TRANSCRIPTS])
def test_transcript(path: Path, tmp_path: Path) -> None:
    assert played(path, tmp_path) == path.read_text(encoding="utf-8")


def test_no_line_of_ours_is_wider_than_the_screen() -> None:
    assert replay.too_wide(TRANSCRIPTS) == []


if __name__ == "__main__":
    replay.write_anew([path for path in TRANSCRIPTS if not sys.argv[1:] or path.stem in sys.argv[1:]], played)
