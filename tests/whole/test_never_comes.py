"""What never comes is not waited for without an end, and a page that does not answer is filled in again."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import dns.resolver
import pytest

from engine.app import data_folder
from engine.contract import ExitCode
from engine.laboratory import Workplace
from tests.whole.stage import Stage, staged

DAY = 86_400.0
TASK = "The cloud mailbox is there"


def only(stage: Stage, kind: str, task: str) -> Path:
    """A playbook of one task of the shipped one, word for word."""
    shipped = (data_folder() / "playbooks" / f"{kind}.yml").read_text(encoding="utf-8")
    _, _, rest = shipped.partition(f"    - name: {task}\n")
    path = stage.folder / "only.yml"
    path.write_text(f"- name: Each mailbox\n  targets: mailboxes\n  tasks:\n    - name: {task}\n"
                    + rest.partition("    - name: ")[0].partition("    #")[0], encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["staged", "cutover"])
def test_after_three_days_without_a_cloud_mailbox_a_person_is_asked(tmp_path: Path, kind: str) -> None:
    """Found by the simulation: both playbooks waited without an end."""
    with staged(tmp_path, kind) as stage:
        stage.playbook = only(stage, kind, TASK)
        assert stage.command("apply", "--yes")[0] == ExitCode.PARKED_ON_TIME
        stage.pass_time(2.9 * DAY)
        assert stage.command("apply", "--yes")[0] == ExitCode.PARKED_ON_TIME
        stage.pass_time(0.2 * DAY)
        code, said = stage.command("apply", "--yes")
        assert (code, stage.counts(TASK).keys()) == (ExitCode.SOME_FAILED, {"failed"})
        assert "its timeout has passed" in " ".join(said.split())
        assert "mailmove retry" in stage.command("status")[1]


def test_records_are_entered_again_where_the_dns_host_has_cut_the_line(tmp_path: Path) -> None:
    """Found by the simulation: the rehearsal's person broke with a traceback."""
    text = 'proof.contoso.com. 3600 IN TXT "here"\n'
    with staged(tmp_path) as stage, socket.create_server(("127.0.0.1", 0)) as host:
        update = stage.lab.ready["connections"]["dns"]["update"]
        server, update["server"] = update["server"], f"127.0.0.1:{host.getsockname()[1]}"
        cutting = threading.Thread(target=lambda: host.accept()[0].close())
        cutting.start()
        desk = Workplace(stage.lab, stage.lab.ready["connections"]["directory"])
        assert desk.enter_records(text) == "the page did not answer"
        cutting.join()
        update["server"] = server
        assert desk.enter_records(text) == "0 values away, 1 added"
        asked = dns.resolver.Resolver(configure=False)
        address, _, port = server.rpartition(":")
        asked.nameservers, asked.port = [address], int(port)
        assert [each.to_text() for each in asked.resolve("proof.contoso.com", "TXT")] == ['"here"']
