"""A whole small migration in the lab, by the public command, undisturbed and killed. Real processes, real sockets."""

from __future__ import annotations

import io
import json
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
