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
import os
import re
import shlex
import shutil
import sys
import tempfile
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

HERE = Path(__file__).parent / "lab"
TRANSCRIPTS = sorted(HERE.glob("*.txt"))
#: Times, digests and what the tenant invents move with every change of the lab's story; the words do not.
CHANGING = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?(?: UTC|Z|\+00:00)?)?|(?<=Digest )[0-9a-f]{16}"
                      r"|MS=ms\d+|127\.0\.0\.1:\d+|(?<=request id )[0-9a-f-]{36}")
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

    def run(self, words: Sequence[str]) -> tuple[int, str]:
        screen = io.StringIO()
        code = main([*words, "--state", "state"] if words[0] not in ("check", "doc") else list(words), screen, screen,
                    WORLD)
        return code, screen.getvalue()

    def play(self, line: str, home: Path) -> list[str]:
        word, _, rest = line[2:].partition(" ")
        if line.startswith("% "):
            self.meanwhile(word, rest)
            return [line]
        code, said = self.run(shlex.split(rest))
        said = said.replace(" --state state", "").replace(str(home), "HERE")
        said = CHANGING.sub(lambda found: "WHEN" if found[0][:2] == "20" else "…", said)
        return [line, said.rstrip("\n"), *([f"[exit {code}]"] if code else []), ""]

    def meanwhile(self, word: str, rest: str) -> None:
        import json

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
            self.run(shlex.split(rest))
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
            self.run(["apply", "--yes"])
            if there():
                return
            if not self.person.answer():
                self.lab.post("/clock/advance", seconds=seconds)
        raise AssertionError("what the transcript waits for does not come")


def replay(text: str, folder: Path) -> str:
    """The transcript as it reads now."""
    told = [line for line in text.splitlines() if line[:2] in ("$ ", "% ")]
    settings = dict(line[2:].partition(" ")[::2] for line in told if line.startswith(("% kind", "% play", "% lag")))
    acme, home = folder / "acme", folder / "home"
    app.init(acme, settings.get("kind", "staged"))
    shutil.copyfile(HERE / settings.get("play", "migration.yml"), acme / "playbook.yml")
    migration = app.load(app.place(acme, None, folder / "unused", WORLD), {}, WORLD)
    if "% by hand" in told:
        path = acme / "inventory.yml"
        path.write_text(path.read_text().replace("provider: rfc2136", "provider: by_hand"))
    home.mkdir()
    described = {**organisation(migration), "dns_lag_seconds": settings.get("lag", "0")}
    with Lab(home, described, seed=1, faults="none", environment=World().environment) as lab:
        write_inventory(migration.place.inventory, lab.ready, home)
        shutil.copyfile(acme / "playbook.yml", home / "playbook.yml")
        before = Path.cwd()
        os.chdir(home)
        try:
            stage = Stage(lab, Person(_spoken, ["--state", "state"],
                                      Workplace(lab, lab.ready["connections"]["directory"])))
            return "\n".join(line for said in told for line in stage.play(said, home))
        finally:
            os.chdir(before)


def _spoken(words: Sequence[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(list(words), out, err, WORLD), out.getvalue(), err.getvalue()


def requirements(path: Path) -> list[str]:
    """The ids a transcript's name begins with: `B-13_…`, `B-38_B-41_…`."""
    return re.findall(r"[BCS]-\d\d", path.stem)


@pytest.mark.parametrize("path", [
    pytest.param(path, marks=pytest.mark.requirement(*requirements(path)) if requirements(path) else ())
    for path in TRANSCRIPTS], ids=lambda path: path.stem)
def test_transcript(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert replay(text, tmp_path) == text


def test_no_line_of_ours_is_wider_than_the_screen() -> None:
    for path in TRANSCRIPTS:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert len(line) <= 100 or line.lstrip().startswith(("$ ", "% ", "mailmove ")), (path.name, line)


if __name__ == "__main__":
    for transcript in TRANSCRIPTS:
        if not sys.argv[1:] or transcript.stem in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as temporary:
                now = replay(transcript.read_text(encoding="utf-8"), Path(temporary).resolve())
            transcript.write_text(now, encoding="utf-8")
