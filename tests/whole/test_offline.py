"""What is wrong in a playbook is found together, placed, and without a word to any remote system."""

from __future__ import annotations

import io
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cli import main
from engine.contract import ExitCode
from engine.world import World
from tests.servers.process import free_port

#: Each task and each play but the first is wrong in its own way. `⟦` stands where the problem is.
TEN_MISTAKES = """\
- name: Own the domains
  targets: domains
  tasks:
    - name: A module that is not there
      ⟦domain_tenant: {domain: "{{ target }}"}
    - name: A parameter that is not there
      tenant_domain: {domain: "{{ target }}", ⟦stat: verified}
    - name: A parameter that is missing
      dns_record: ⟦{type: TXT, values: [a]}
    - name: A value of another type
      dns_record: {zone: "{{ row.zone }}", type: TXT, values: [b], ttl: ⟦often}
    - name: A name that nobody has given
      approval: {id: go, question: "{{ ⟦nobody }}?"}
    - name: An expression that is none
      approval: {id: again, question: "{{⟦ target + }}?"}
    - name: A window that the inventory does not have
      tenant_domain: {domain: "{{ target }}", state: present}
      window: ⟦sunday_night
- name: Needs what is not there
  targets: domains
  needs: [⟦Raise the flags]
  tasks:
    - name: Agreed
      checklist: {id: agreed, items: [all]}
- name: Over rows of no kind
  targets: ⟦boxes
  tasks:
    - name: Agreed
      checklist: {id: agreed-too, items: [all]}
- name: In the words of another tool
  ⟦hosts: domains
  tasks:
    - name: Agreed
      checklist: {id: agreed-as-well, items: [all]}
"""

INVENTORY = """\
migration: offline
type: staged
exchange: "2007"
tenant: {{id: 9a1e52c4-7d3b-4f60-8c1d-0e6f2b7a9d31, domain: contoso.onmicrosoft.com}}
rows:
  domains: [{{domain: contoso.com, zone: contoso.com}}]
connections:
  graph: {{url: "https://127.0.0.1:{0}", authority: "https://127.0.0.1:{0}", client_id: x, client_secret: !secret env:X}}
  exchange_online: {{url: "https://127.0.0.1:{0}", authority: "https://127.0.0.1:{0}", client_id: x, client_secret: !secret env:X}}
  dns:
    provider: rfc2136
    servers: {{contoso.com: ["127.0.0.1:{0}"]}}
    update: {{server: "127.0.0.1:{0}", key_name: k, algorithm: hmac-sha256, secret: !secret env:X}}
    resolvers: ["127.0.0.1:{0}"]
  directory: {{host: 127.0.0.1, port: {0}, tls: none, user: x, password: !secret env:X, base: "DC=contoso,DC=com"}}
  ews: {{url: "https://127.0.0.1:{0}", user: x, password: !secret env:X, version: "2007"}}
  smtp: {{host: 127.0.0.1, port: {0}, tls: none, sender: migration@contoso.com}}
clock: {{url: "http://127.0.0.1:{0}"}}
"""  # noqa: E501  one connection a line


class Door:
    """A TCP and a UDP port that answer nobody and remember who came."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        self.port = free_port()  # of both kinds: one that is free for TCP may be somebody's for UDP
        self.tcp = socket.create_server(("127.0.0.1", self.port))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._accept, self._receive)]
        for thread in self._threads:
            thread.start()

    def _accept(self) -> None:
        while True:
            try:
                visitor, _ = self.tcp.accept()
            except OSError:
                return
            self.visits.append("tcp")
            visitor.close()

    def _receive(self) -> None:
        while True:
            try:
                data, _ = self.udp.recvfrom(4096)
            except OSError:
                return
            if data == b"over":
                return
            self.visits.append("udp")

    def close(self) -> list[str]:
        """No more visits; all there were."""
        self.udp.sendto(b"over", ("127.0.0.1", self.port))
        self.tcp.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self.tcp.close()
        self.udp.close()
        return self.visits


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    if made.tcp.fileno() >= 0:
        made.close()


def mailmove(*words: str) -> tuple[int, str]:
    screen = io.StringIO()
    code = main(words, screen, screen, World(environment={"X": "c2VjcmV0", "USER": "maria"}))
    return code, screen.getvalue()


def migration(folder: Path, playbook: str, port: int) -> Path:
    (folder / "inventory.yml").write_text(INVENTORY.format(port))
    (folder / "playbook.yml").write_text(playbook)
    return folder / "playbook.yml"


@pytest.mark.parametrize("verb", ["check", "plan", "apply"])
def test_ten_mistakes_of_ten_kinds_are_found_in_one_run(tmp_path: Path, door: Door, verb: str) -> None:
    marks = [(number, line.index("⟦") + 1)
             for number, line in enumerate(TEN_MISTAKES.splitlines(), 1) if "⟦" in line]
    assert len(marks) == 10
    playbook = migration(tmp_path, TEN_MISTAKES.replace("⟦", ""), door.port)
    code, said = mailmove(verb, str(playbook), *([] if verb == "check" else ["--state", str(tmp_path / "state")]))
    assert code == ExitCode.INVALID
    found = re.findall(rf"^error: (.+)\n --> {re.escape(str(playbook))}:(\d+):(\d+)$", said, re.MULTILINE)
    assert [(int(line), int(column)) for _, line, column in found] == marks, said
    assert len({summary for summary, _, _ in found}) == 10, [summary for summary, _, _ in found]
    assert "10 errors; nothing was contacted." in said
    assert not (tmp_path / "state").exists()
    assert door.close() == []


def test_a_fault_of_the_syntax_is_placed_and_more_may_follow(tmp_path: Path, door: Door) -> None:
    broken = TEN_MISTAKES.replace("⟦", "").replace("name: A parameter that is missing", "name: A parameter: missing")
    playbook = migration(tmp_path, broken, door.port)
    code, said = mailmove("plan", str(playbook), "--state", str(tmp_path / "state"))
    assert code == ExitCode.INVALID
    line = broken.splitlines().index("    - name: A parameter: missing") + 1
    assert f" --> {playbook}:{line}:" in said
    assert "more may be found after it" in said
    assert door.close() == []


def test_the_door_would_have_noticed(tmp_path: Path, door: Door) -> None:
    """A playbook without mistakes does contact what the inventory names: the proof above is one."""
    playbook = migration(tmp_path, "- name: Look\n  targets: domains\n  tasks:\n    - name: Known\n"
                         "      tenant_domain: {domain: \"{{ target }}\", state: present}\n", door.port)
    code, said = mailmove("plan", str(playbook), "--state", str(tmp_path / "state"))
    assert code != ExitCode.INVALID, said
    assert "tcp" in door.close()
