"""`mailmove doctor` at real servers: the whole screen, where all is well and where it is not."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.connections import Site
from engine.contract import ExitCode
from engine.world import World
from tests.servers.bind import POOR, Bind, bind
from tests.servers.dns_worlds import zones
from tests.servers.postfix import PASSWORD, Postfix, postfix

pytestmark = [pytest.mark.server("bind"), pytest.mark.server("postfix")]

PLAYBOOK = """
- name: Mail goes to the cloud
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
vars: {test_mailbox: anna@contoso.com}
rows:
  domains: [{domain: contoso.com, zone: contoso.com}]
connections: """


@pytest.fixture(scope="module")
def letters() -> Iterator[Postfix]:
    with postfix(["contoso.com"], ["anna@contoso.com"], doors=["submission", "greylisting", "source"]) as made:
        yield made


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Bind]:
    with bind(tmp_path, zones()) as made:
        yield made


def examined(folder: Path, connections: dict[str, Any], secrets: dict[str, str]) -> tuple[int, list[str]]:
    """The exit code, and what is said of each connection, as one line each: where it breaks depends on port numbers."""
    home = folder / "acme"
    home.mkdir()
    (home / "playbook.yml").write_text(PLAYBOOK)
    text = re.sub(r'"SECRET (\w+)"', r"!secret env:\1", json.dumps(connections))
    (home / "inventory.yml").write_text(INVENTORY + text + "\n")
    screen = io.StringIO()
    code = main(["doctor", "-p", str(home), "--state", str(folder / "state")], screen, screen,
                World(environment={"USER": "maria", **secrets}))
    said = screen.getvalue()
    assert not any(value in said for value in secrets.values())
    assert max(map(len, said.partition("\n\n")[0].splitlines())) <= 100 + len(str(folder))
    found = [" ".join(each.split()) for each in re.split(r"\n  (?=ok |ILL)", said.partition("\n\n")[0])]
    told = [each for each in found if each.split()[1] in ("dns:", "smtp:", "source_smtp:")]
    return code, [re.sub(r"127\.0\.0\.1:\d+", "SERVER", re.sub(r" in \d+(\.\d+)? seconds?", "", each)) for each in told]


def connections(names: Bind, letters: Postfix) -> dict[str, Any]:
    dns = names.connection()
    dns["update"] = {**dns["update"], "secret": "SECRET DNS_KEY"}
    return {"dns": dns, "smtp": {**letters.connection("submission"), "password": "SECRET SMTP_PASSWORD"},
            "source_smtp": letters.connection("source")}


@pytest.mark.requirement("B-36")
def test_all_is_well(tmp_path: Path, names: Bind, letters: Postfix) -> None:
    secrets = {"DNS_KEY": names.secret, "SMTP_PASSWORD": PASSWORD}
    code, said = examined(tmp_path, connections(names, letters), secrets)
    assert code == ExitCode.CONVERGED
    assert said == [
        "ok dns: 1 zone answered by every authoritative server; the key mailmove-key may change contoso.com "
        "needs a TSIG key that may update the zone",
        "ok smtp: takes mail from migration@contoso.com to anna@contoso.com (TLSv1.3, signed in as "
        "mailmove@mail.contoso.com)",
        "ok source_smtp: takes mail from migration@contoso.com to anna@contoso.com (TLSv1.3)"]
    assert letters.letters() == []
    assert names.serial("contoso.com", "primary") == 1


def test_each_ill_thing_is_named_with_what_would_work(tmp_path: Path, names: Bind, letters: Postfix) -> None:
    ill = connections(names, letters)
    ill["dns"]["update"]["key_name"] = "other-key"
    ill["source_smtp"] = letters.connection("greylisting", sender="doctor@contoso.com")
    secrets = {"DNS_KEY": names.secret, "SMTP_PASSWORD": "not-the-password"}
    code, said = examined(tmp_path, ill, secrets)
    assert said == [
        "ILL dns: SERVER does not accept the key other-key (BADKEY) needs a TSIG key that may update the zone "
        "check name, algorithm and secret of the key other-key",
        "ILL smtp: SERVER refuses the sign-in: 5.7.8 Error: authentication failed: authentication failure (535) "
        "correct user and password of the connection",
        "ILL source_smtp: 127.0.0.1 refused a letter from doctor@contoso.com to anna@contoso.com: 450 4.2.0 "
        "<anna@contoso.com>: Recipient address rejected: Greylisted, come again (450) "
        "try again in some minutes: the server is busy, or puts off whom it does not know yet"]
    assert code == ExitCode.SOME_FAILED


def test_a_key_without_rights_is_found_before_the_night(tmp_path: Path, names: Bind) -> None:
    dns = names.connection()
    dns["update"] = {**dns["update"], "key_name": POOR, "secret": "SECRET DNS_KEY"}
    _, (said,) = examined(tmp_path, {"dns": dns}, {"DNS_KEY": names.secret})
    assert said.startswith("ILL dns: SERVER refused the update of contoso.com: REFUSED")
    assert "allow the key poor-key to update contoso.com" in said


def test_servers_that_differ_and_a_resolver_that_remembers_are_shown(tmp_path: Path, names: Bind) -> None:
    """D1, D2: a resolver outside proves nothing, and is asked only once the zone's own servers agree."""
    told = names.connection()
    told["update"] = {**told["update"], "secret": "SECRET DNS_KEY"}
    one = Site({"dns": names.connection()}, {}, World()).dns
    assert one.servers.resolved("contoso.com", "@", "MX") == {names.place("resolver"): ("10 mail.contoso.com.",)}
    one.replace("contoso.com", "@", "MX", ["0 contoso-com.k-v1.mx.microsoft."], 3600, ["10 mail.contoso.com."])
    (tmp_path / "before").mkdir()
    _, (said,) = examined(tmp_path / "before", {"dns": told}, {"DNS_KEY": names.secret})
    assert "; its servers differ: SERVER" in said and "shows other" not in said
    names.catch_up()
    (tmp_path / "after").mkdir()
    _, (said,) = examined(tmp_path / "after", {"dns": told}, {"DNS_KEY": names.secret})
    assert "; SERVER shows other MX: 10 mail.contoso.com." in said
