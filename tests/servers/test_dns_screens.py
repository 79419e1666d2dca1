"""What a person sees of DNS that goes wrong: whole screens of `apply`, at BIND."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.cli import main
from engine.connections import Site
from engine.contract import ExitCode
from engine.world import StillClock, World
from tests.servers.bind import KEY, POOR, Bind, bind
from tests.servers.dns_worlds import zones

pytestmark = pytest.mark.server("bind")

PLAYBOOK = """
- name: Lower the TTL
  targets: domains
  tasks:
    - name: MX may be cached for an hour at most
      mx_ttl: {domain: "{{ target }}", zone: "{{ row.zone }}", at_most: 3600}
"""
INVENTORY = """
migration: acme
type: staged
exchange: "2007"
tenant: {id: 9a1e52c4-7d3b-4f60-8c1d-0e6f2b7a9d31, domain: contoso.onmicrosoft.com}
rows:
  domains: [{domain: contoso.com, zone: contoso.com}, {domain: fabrikam.com, zone: fabrikam.com}]
connections: {dns: """


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Bind]:
    (tmp_path / "bind").mkdir()
    with bind(tmp_path / "bind", zones()) as made:
        yield made


class Desk:
    """One person at one migration; `types` answers exit code and screen, with places in words."""

    def __init__(self, folder: Path, names: Bind, *, provider: str = "rfc2136", key_name: str = KEY) -> None:
        self.folder = folder / "acme"
        self.folder.mkdir()
        self.names = names
        dns = {**names.connection(), "provider": provider}
        dns["update"] = {**dns["update"], "key_name": key_name, "secret": "SECRET"}
        text = json.dumps(dns).replace('"SECRET"', "!secret env:DNS_KEY")
        (self.folder / "inventory.yml").write_text(INVENTORY + text + "}\n")
        (self.folder / "playbook.yml").write_text(PLAYBOOK)
        self.clock = StillClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))

    def types(self, *words: str) -> tuple[int, str]:
        screen = io.StringIO()
        world = World(clock=self.clock, environment={"USER": "maria", "DNS_KEY": self.names.secret})
        code = main([*words, "--state", str(self.folder / "state")], screen, screen, world)
        said = screen.getvalue()
        for name in ("primary", "secondary"):
            said = said.replace(self.names.place(name), name.upper())
        return code, said

    def applies(self) -> tuple[int, str]:
        """What follows the plan."""
        code, said = self.types("apply", str(self.folder / "playbook.yml"), "--yes")
        return code, said.partition("to change.\n\n")[2] or said

    def status(self) -> str:
        return self.types("status", "-p", str(self.folder / "playbook.yml"))[1]


@pytest.mark.requirement("B-37")
def test_a_secondary_that_still_serves_the_old_zone_is_named_and_waited_for(tmp_path: Path, names: Bind) -> None:
    desk = Desk(tmp_path, names)
    code, said = desk.applies()
    assert said.startswith("""\
  ~ MX may be cached for an hour at most  contoso.com, fabrikam.com
  waiting: MX may be cached for an hour at most  contoso.com, fabrikam.com
        SECONDARY: not yet as the primary server has it (until 2026-03-02 09:01 UTC)

                 waiting
  Lower the TTL        2

All that can be done now is done; the rest waits for its time.
""")
    assert code == ExitCode.PARKED_ON_TIME
    names.catch_up()
    desk.clock.sleep(3600)
    code, said = desk.applies()
    assert "Everything is as the playbook says.\n0 changes in this run; task rows: 2 done.\n" in said
    assert code == ExitCode.CONVERGED


@pytest.mark.requirement("B-37")
def test_a_server_that_is_dead_leaves_the_zone_unknown_and_nothing_is_written(
        tmp_path: Path, names: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.connections.dns_lookup.SILENCE_SECONDS", 0.2)
    names.secondary.stop()
    code, said = Desk(tmp_path, names).applies()
    assert """\
  waiting: MX may be cached for an hour at most  contoso.com
        dns: SECONDARY: no answer to contoso.com MX (until 2026-03-02 09:01 UTC)
""" in said
    assert code == ExitCode.PARKED_ON_TIME
    assert names.serial("contoso.com", "primary") == 1


@pytest.mark.requirement("B-36")
def test_a_key_without_the_right_is_named_with_what_would_work(tmp_path: Path, names: Bind) -> None:
    desk = Desk(tmp_path, names, key_name=POOR)
    code, said = desk.applies()
    assert said.startswith("""\
  ~ MX may be cached for an hour at most  contoso.com, fabrikam.com
  failed: MX may be cached for an hour at most  contoso.com
        dns: PRIMARY refused the update of contoso.com: REFUSED. Allow the key poor-key to
        update contoso.com, and see that every mail host of the zone has an address there
""")
    assert code == ExitCode.SOME_FAILED
    status = desk.status()
    assert "Allow the key poor-key to update contoso.com, and see that every mail host" in " ".join(status.split())


@pytest.mark.requirement("B-36")
def test_a_zone_kept_by_hand_is_handed_over_and_settled_by_reading(tmp_path: Path, names: Bind) -> None:
    desk = Desk(tmp_path, names, provider="by_hand")
    code, _ = desk.applies()
    assert code == ExitCode.PARKED_ON_PERSON
    assert "contoso.com. 3600 IN MX 10 mail.contoso.com." in desk.status()
    assert names.serial("contoso.com", "primary") == 1
    hand = Site({"dns": names.connection()}, {}, World()).dns
    for zone in ("contoso.com", "fabrikam.com"):
        held = hand.record_set(zone, "@", "MX").values
        hand.replace(zone, "@", "MX", held, 3600, held)
    names.catch_up()
    desk.clock.sleep(3600)
    code, said = desk.applies()
    assert "task rows: 2 done." in said
    assert code == ExitCode.CONVERGED
