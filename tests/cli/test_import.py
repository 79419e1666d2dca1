"""`inventory import` against the lab's directory: what it shows, what it writes, and what it never touches."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.contract import ExitCode
from engine.world import World
from tests.lab.source_stand import Stand, stand

DESCRIPTION: dict[str, Any] = {
    "type": "staged", "exchange": "2010", "tenant": {"id": "t", "domain": "contoso.onmicrosoft.com"},
    "vars": {"source_account": "CORP\\migadmin", "rpc_proxy_server": "mail.contoso.com"},
    "rows": {
        "domains": [{"domain": "contoso.com"}, {"domain": "fabrikam.com"}],
        "servers": [{"server": "ex01.corp.contoso.com"}, {"server": "ex02.corp.contoso.com"}],
        "mailboxes": [
            {"address": "anna@contoso.com", "name": "Anna Müller, Dr.", "aliases": "a.mueller@fabrikam.com",
             "usage_location": "AT", "items": 812},
            {"address": "ben@contoso.com", "name": "=Ben", "server": "ex02.corp.contoso.com", "items": 5},
            {"address": "cora@fabrikam.com", "name": "Cora", "database": "Sales"},
            {"address": "room@contoso.com", "name": "Raum", "type": "room", "hidden": True, "usage_location": "AT"}],
        "recipients": [{"address": "partner@example.com", "name": "Partner", "target_address": "p@partner.example"}],
        "groups": [{"address": "team@contoso.com", "name": "Team", "security": "true", "managed_by": "anna@contoso.com",
                    "members": "anna@contoso.com;ben@contoso.com;partner@example.com"}],
    },
}


@dataclass
class Folder:
    """A migration's folder and the words typed in it."""

    path: Path
    lab: Stand

    def type(self, *words: str, code: int = 0) -> str:
        out = io.StringIO()
        environment = {"USER": "maria", "SECRET": str(self.lab.connections["directory"]["password"])}
        told = main(["inventory", "import", *words, "-p", str(self.path)], out, out, World(environment=environment))
        assert told == code, out.getvalue()
        return out.getvalue()

    def rows(self, kind: str) -> dict[str, dict[str, str]]:
        with (self.path / f"{kind}.csv").open(encoding="utf-8", newline="") as file:
            return {next(iter(row.values())): row for row in csv.DictReader(file)}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with stand(tmp_path, rows=DESCRIPTION) as lab:
        own = tmp_path / "own"
        own.mkdir()
        directory, ews = lab.connections["directory"], lab.connections["ews"]
        (own / "playbook.yml").write_text("- name: nothing\n  targets: mailboxes\n  tasks: []\n")
        (own / "inventory.yml").write_text(f"""\
migration: contoso
type: staged
exchange: "2010"
tenant: {{id: 9a1e52c4-7d3b-4f60-8c1d-0e6f2b7a9d31, domain: contoso.onmicrosoft.com}}
rows:
  domains:
    - {{domain: contoso.com, zone: contoso.com}}
  mailboxes: mailboxes.csv
connections:
  directory: {{host: 127.0.0.1, port: {directory['port']}, tls: ldaps, user: 'CORP\\migadmin',
              password: !secret env:SECRET, base: "{directory['base']}", ca_file: {directory['ca_file']}}}
  ews: {{url: '{ews['url']}', user: 'CORP\\migadmin', password: !secret env:SECRET, version: "2010",
        ca_file: {ews['ca_file']}}}
""")
        yield Folder(own, lab)


def test_the_first_import_shows_everything_and_writes_nothing(folder: Folder) -> None:
    assert folder.type() == f"""\
servers.csv: 2 new, 0 changed, 0 as they were
  + ex01.corp.contoso.com  2010
  + ex02.corp.contoso.com  2010
  Put this under rows: in the inventory:  servers: servers.csv
inventory.yml: put under rows: domains:
    - {{domain: fabrikam.com, zone: fabrikam.com, probe_address: cora@fabrikam.com}}
mailboxes.csv: 4 new, 0 changed, 0 as they were
  + anna@contoso.com  Anna Müller, Dr., user, ex01.corp.contoso.com, Mailbox Database, 2010
  + ben@contoso.com  '=Ben, user, ex02.corp.contoso.com, Mailbox Database, 2010, anna@contoso.com
  + cora@fabrikam.com  Cora, user, ex01.corp.contoso.com, Sales, 2010
  + room@contoso.com  Raum, room, ex01.corp.contoso.com, Mailbox Database, 2010, true
recipients.csv: 1 new, 0 changed, 0 as they were
  + partner@example.com  Partner, contact, p@partner.example
  Put this under rows: in the inventory:  recipients: recipients.csv
groups.csv: 1 new, 0 changed, 0 as they were
  + team@contoso.com  Team, true, anna@contoso.com
  Put this under rows: in the inventory:  groups: groups.csv
Left out: 2 objects with an address that do not move (the system's own mailboxes, public folders,
dynamic groups).
Nothing was written.

Next:
    mailmove inventory import -p {folder.path} --write
"""
    assert sorted(each.name for each in folder.path.iterdir()) == ["inventory.yml", "playbook.yml"]


def test_what_is_written_is_whole_and_a_second_import_finds_nothing(folder: Folder) -> None:
    folder.type("--write")
    mailboxes = folder.rows("mailboxes")
    assert sorted(mailboxes) == sorted(row["address"] for row in DESCRIPTION["rows"]["mailboxes"])
    assert mailboxes["anna@contoso.com"] == {
        "address": "anna@contoso.com", "name": "Anna Müller, Dr.", "type": "user", "aliases": "a.mueller@fabrikam.com",
        "server": "ex01.corp.contoso.com", "database": "Mailbox Database", "exchange": "2010", "hidden": "",
        "manager": "", "delegates": "ben@contoso.com", "items": "", "batch": "", "sku": "", "usage_location": "AT"}
    assert mailboxes["ben@contoso.com"]["name"] == "'=Ben"  # no spreadsheet runs it
    assert folder.rows("groups")["team@contoso.com"]["members"] == (
        "anna@contoso.com;ben@contoso.com;partner@example.com")
    again = folder.type("mailboxes", "groups", "recipients", "servers")
    assert "mailboxes.csv: 0 new, 0 changed, 4 as they were" in again


def test_what_a_person_wrote_stays_and_what_the_directory_knows_is_shown_first(folder: Folder) -> None:
    folder.type("--write")
    path = folder.path / "mailboxes.csv"
    path.write_text(
        "address,name,batch,sku,usage_location,note,server\n"
        "ben@contoso.com,Ben B.,Batch07,ENTERPRISEPACK,DE,\"calls back, late\",ex02.corp.contoso.com\n"
        "gone@contoso.com,Gone,Batch01,,,,\n"
        "anna@contoso.com,\"Anna Müller, Dr.\",Batch02,,,,ex01.corp.contoso.com\n"
        "room@contoso.com,Raum,,,CH,,ex01.corp.contoso.com\n", encoding="utf-8")
    before = path.read_bytes()
    said = folder.type("mailboxes")
    assert "mailboxes.csv: 1 new, 3 changed, 1 not in the directory and kept, 0 as they were" in said
    assert "  ~ ben@contoso.com  name: Ben B. → '=Ben" in said
    assert "  = gone@contoso.com  kept" in said
    assert path.read_bytes() == before

    folder.type("mailboxes", "--write")
    rows = folder.rows("mailboxes")
    assert list(rows)[:3] == ["ben@contoso.com", "gone@contoso.com", "anna@contoso.com"]
    ben = rows["ben@contoso.com"]
    assert (ben["batch"], ben["sku"], ben["usage_location"], ben["note"]) == (
        "Batch07", "ENTERPRISEPACK", "DE", "calls back, late")
    assert (ben["name"], ben["database"], ben["exchange"]) == ("'=Ben", "Mailbox Database", "2010")
    assert rows["anna@contoso.com"]["usage_location"] == "AT"  # it was empty
    assert rows["gone@contoso.com"]["batch"] == "Batch01"
    assert rows["room@contoso.com"]["usage_location"] == "CH"  # the directory says AT


def test_what_was_a_mailbox_or_is_the_systems_is_no_recipient(folder: Folder) -> None:
    directory, mailboxes = folder.lab.organisation.directory, folder.lab.organisation.mailboxes
    directory.modify(mailboxes["ben@contoso.com"].entry.dn, [
        ("delete", "homeMDB", ()), ("replace", "targetAddress", (b"SMTP:ben@contoso.onmicrosoft.com",))])
    directory.modify(mailboxes["cora@fabrikam.com"].entry.dn, [  # as New-Mailbox -Discovery makes one
        ("replace", "msExchRecipientTypeDetails", (b"536870912",))])
    folder.type("mailboxes", "recipients", "--write")
    assert sorted(folder.rows("mailboxes")) == ["anna@contoso.com", "room@contoso.com"]
    assert sorted(folder.rows("recipients")) == ["partner@example.com"]


@pytest.mark.parametrize(("words", "left"), [
    (["--group", "team@contoso.com"], ["anna@contoso.com", "ben@contoso.com"]),
    (["--server", "ex02"], ["ben@contoso.com"]),
    (["--database", "Sales"], ["cora@fabrikam.com"]),
    (["--exchange", "2007"], []),
    (["--filter", "(mail=*@fabrikam.com)"], ["cora@fabrikam.com"]),
    (["--ou", "OU=People,DC=corp,DC=contoso,DC=com", "--filter", "displayName=Raum"], ["room@contoso.com"]),
])
def test_a_part_of_the_mailboxes_is_imported_by_itself(folder: Folder, words: list[str], left: list[str]) -> None:
    said = folder.type("mailboxes", *words)
    assert [line.split()[1] for line in said.splitlines() if line.startswith("  + ")] == left


def test_items_are_counted_where_asked_and_a_count_of_ones_own_stays(folder: Folder) -> None:
    folder.type("mailboxes", "--write", "--server", "ex02", "--items")
    assert folder.rows("mailboxes")["ben@contoso.com"]["items"] == "5"


def test_what_is_wrong_is_told_before_anything_is_written(folder: Folder) -> None:
    assert "no LDAP filter" in folder.type("--filter", "(mail=", code=ExitCode.USAGE)
    assert "the directory has no group nobody@contoso.com" in folder.type(
        "--group", "nobody@contoso.com", code=ExitCode.SOME_FAILED)
    path = folder.path / "mailboxes.csv"
    path.write_text("address,name\nanna@contoso.com\n")
    assert "wrong number of values" in folder.type("--write", code=ExitCode.INVALID)
    assert path.read_text() == "address,name\nanna@contoso.com\n"
    assert not (folder.path / "servers.csv").exists()
