"""A whole small migration in the lab, by the public command, undisturbed and killed. Real processes, real sockets."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import app
from engine.cli import main
from engine.contract import ExitCode, Refusal
from engine.laboratory import Lab, LabFailed
from engine.people import Person
from engine.rehearse import Kill, write_inventory
from engine.world import World

PLAYBOOK = """
- name: Tell people
  targets: organisation
  tasks:
    - name: The plan is agreed
      checklist: {id: kick-off, items: [agreed]}
    - name: Go or no-go
      approval: {id: go, question: Go?, typed: "{{ target }}"}
- name: Own the domains
  targets: domains
  tasks:
    - name: The domain is known to the tenant
      tenant_domain: {domain: "{{ target }}", state: present}
- name: Connect the source
  targets: organisation
  needs: [Tell people]
  tasks:
    - name: The migration endpoint exists
      migration_endpoint:
        name: "{{ endpoint_name }}"
        email_address: "{{ test_mailbox }}"
        account: "{{ source_account }}"
        autodiscover: "{{ source_autodiscover }}"
        exchange_server: "{{ exchange_server }}"
        rpc_proxy_server: "{{ rpc_proxy_server }}"
    - name: The service reaches the source
      endpoint_test: {endpoint: "{{ endpoint_name }}"}
"""

FAULTY = """
from dataclasses import dataclass
from typing import Annotated, ClassVar

from engine.modules.base import Module

@dataclass(frozen=True, kw_only=True)
class Faulty(Module):
    \"\"\"Cannot be applied.\"\"\"

    name: Annotated[str, "Whatever."]
    family: ClassVar[str] = "faulty"

    def key(self):
        return f"faulty/{self.name}"

    def want(self):
        return {"there": True}

    def read(self, site):
        return None

    def apply(self, site, diff):
        return 1 / 0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    app.init(tmp_path / "acme", "staged")
    (tmp_path / "acme" / "playbook.yml").write_text(PLAYBOOK)
    return tmp_path / "acme"


def rehearse(folder: Path, *words: str) -> dict[str, object]:
    out, err = io.StringIO(), io.StringIO()
    code = main(["rehearse", str(folder), "--json", *words], out, err, World())
    assert out.getvalue(), err.getvalue()
    found: dict[str, object] = json.loads(out.getvalue())
    assert found["well"] is (code == 0)
    return found


def test_everything_that_is_asked_is_answered_and_a_second_run_changes_nothing(folder: Path) -> None:
    found = rehearse(folder)
    assert found["well"], found
    assert found["said"] == 3  # the checklist, the typed approval, the script at the desk
    assert found["again_changed"] == 0
    assert found["twice"] == []
    assert float(str(found["virtual_seconds"])) > 0


@pytest.mark.parametrize("kill", ["9:before", "12:after", "15:answered"])
def test_a_killed_engine_ends_in_the_same_organisation(folder: Path, kill: str) -> None:
    killed = rehearse(folder, "--kill-at", kill)
    assert killed["kills"] == 1
    assert killed["well"], killed
    assert killed["digest"] == rehearse(folder)["digest"]


def test_a_person_reads_the_plan_the_progress_the_kill_and_the_figures_of_the_last_outcome(folder: Path) -> None:
    out = io.StringIO()
    assert main(["rehearse", str(folder), "--kill-at", "12:after"], out, out, World()) == 0, out.getvalue()
    said = out.getvalue()
    assert said.startswith(f"Plan of acme  ({folder / 'playbook.yml'})\n")
    told = ["nothing was changed. Digest ", "Asked of people", "person: resolve «Tell people / The plan is agreed»",
            "+ The domain is known to the tenant", "engine killed at request 12 (after); started again", ", 1 kill.",
            "Predictions: ", "Done more than once: nothing.", "once more: 0 changed; the organisation is the same"]
    places = [said.find(each, said.find("Digest")) if place else said.find(each) for place, each in enumerate(told)]
    assert -1 not in places, dict(zip(told, places, strict=True))


def test_agreement_is_that_of_the_last_run_and_a_killed_run_does_not_add_to_it(folder: Path) -> None:
    whole, killed = rehearse(folder), rehearse(folder, "--kill-at", "15:answered")
    assert killed["runs"] == whole["runs"] + 1  # type: ignore[operator]
    acts = {"made", "kept"} & whole["predictions"].keys()  # type: ignore[attr-defined]
    assert acts
    for figure in acts:
        assert killed["predictions"][figure] == whole["predictions"][figure] > 0  # type: ignore[index]


def test_a_run_that_meets_a_bug_shows_the_end_of_its_traceback(folder: Path, tmp_path: Path) -> None:
    """The bug is in a module of another package, found by its entry point as any installed one is."""
    others = tmp_path / "others"
    faulty = others / "faulty.py"
    (others / "faulty-1.dist-info").mkdir(parents=True)
    (others / "faulty-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (others / "faulty-1.dist-info" / "entry_points.txt").write_text("[mailmove.modules]\nfaulty = faulty:Faulty\n")
    faulty.write_text(FAULTY)
    (folder / "playbook.yml").write_text(
        '- name: Break\n  targets: organisation\n  tasks:\n    - name: A bug\n      faulty: {name: "{{ target }}"}\n')
    ended = subprocess.run([sys.executable, "-m", "engine", "rehearse", str(folder)], capture_output=True, text=True,
                           check=False, cwd=app.data_folder(), env={**os.environ, "PYTHONPATH": str(others)})
    assert ended.returncode == ExitCode.BUG, ended.stderr
    assert "The engine ended with exit code 1." in ended.stdout
    _, _, words = ended.stdout.partition("The last it said:\n")
    assert f'File "{faulty}", line ' in words
    assert words.count("ZeroDivisionError: division by zero") == 1


def test_the_folder_that_is_kept_holds_journal_and_output_and_no_secret_in_the_inventory(
        folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert rehearse(folder, "--keep", str(kept))["well"]
    assert (kept / "state" / "acme" / "journal.sqlite").is_file()
    assert "!secret" in (kept / "inventory.yml").read_text()
    for secret in (kept / "secrets").iterdir():
        assert f'"{secret.read_text()}"' not in (kept / "inventory.yml").read_text()


def test_a_rehearsal_never_begins_in_a_folder_with_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    out = io.StringIO()
    assert main(["rehearse", str(folder), "--keep", str(tmp_path / "full")], out, out, World()) == ExitCode.USAGE


def test_the_users_choice_of_how_a_connection_acts_is_rehearsed(folder: Path, tmp_path: Path) -> None:
    text = (folder / "inventory.yml").read_text().replace("provider: rfc2136", "provider: by_hand")
    (folder / "inventory.yml").write_text(text)
    (tmp_path / "work").mkdir()
    ready = {"connections": {"dns": {"servers": {"contoso.com": ["127.0.0.1:5301"]}, "internal": ["127.0.0.1:1"]}},
             "clock": {"url": "http://127.0.0.1:1"}}
    found = write_inventory(folder / "inventory.yml", ready, tmp_path / "work").read_text()
    assert json.loads(found)["connections"]["dns"] == {"provider": "by_hand",
                                                       "servers": {"contoso.com": ["127.0.0.1:5301"]}}


def test_a_lab_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(LabFailed):
        Lab(tmp_path, {"type": "nonsense"}, seed=1, faults="none", environment={})


def test_a_kill_point_is_a_number_and_a_moment() -> None:
    assert Kill.parse("12:after") == Kill(12, "after")
    with pytest.raises(Refusal):
        Kill.parse("12:later")


def test_the_person_stops_when_an_answer_does_not_help() -> None:
    row = {"task": "Own / Go", "row": "contoso.com", "phase": "asking", "what": "approval", "reason": "Go?"}

    def command(words: list[str]) -> tuple[int, str, str]:
        return 0, json.dumps({"parked": [row]}), ""

    person = Person(command, [], desk=None)  # type: ignore[arg-type]
    with pytest.raises(Refusal, match="does not help"):
        for _ in range(20):
            person.answer()


def test_the_person_types_a_script_again_only_when_the_engine_has_looked_since() -> None:
    """Looked at before the engine was, a script typed twice would do twice what it was to do once."""
    typed: list[str] = []

    class Typing:
        def type_powershell(self, script: str) -> str:
            typed.append(script)
            return ""

        def enter_records(self, text: str, connection: str) -> str:
            raise AssertionError("nobody asked for records")

    row = {"task": "Convert / Mail users", "row": "anna", "phase": "handed", "what": "handover", "seen": None,
           "handover": {"title": "Convert", "kind": "powershell", "text": "Disable-Mailbox anna"}}
    person = Person(lambda words: (0, json.dumps({"parked": [row]}), ""), [], Typing())
    for seen, times in ((None, 1), (None, 1), (None, 1), ("12:15", 1), ("12:15", 1), ("12:30", 2), ("12:45", 2)):
        row["seen"] = seen
        person.answer()
        assert len(typed) == times, seen
