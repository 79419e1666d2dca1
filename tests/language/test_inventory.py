from __future__ import annotations

from pathlib import Path

import pytest
from small import INVENTORY, folder

from engine.contract import Invalid, Problem
from engine.language.inventory import Inventory, load


def found(path: Path, inventory: str) -> list[Problem]:
    folder(path, inventory)
    with pytest.raises(Invalid) as caught:
        load(path / "inventory.yml")
    return list(caught.value.problems)


def loaded(path: Path, inventory: str = INVENTORY) -> Inventory:
    return load(folder(path, inventory) / "inventory.yml")


def test_rows_are_folded_and_completed(tmp_path: Path) -> None:
    inventory = loaded(tmp_path)
    anna = inventory.fields("mailboxes", "anna@contoso.com")
    assert anna["all_addresses"] == ("anna@contoso.com", "a@eu.contoso.com", "anna.b@contoso.com")
    assert (anna["items"], anna["type"], anna["name"]) == (12, "user", "anna@contoso.com")
    assert inventory.fields("domains", "eu.contoso.com")["label"] == "eu"
    assert inventory.fields("domains", "contoso.com")["zone"] == "contoso.com"
    assert inventory.fields("groups", "all@contoso.com")["security"] is True
    assert inventory.keys("domains") is inventory.keys("domains")
    assert inventory.keys("organisation") == ("contoso",)


def test_relations_lead_both_ways(tmp_path: Path) -> None:
    rows = loaded(tmp_path)
    assert rows.related("mailboxes", "anna@contoso.com", "domains") == ("contoso.com", "eu.contoso.com")
    assert rows.related("domains", "eu.contoso.com", "mailboxes") == ("anna@contoso.com", "bo@eu.contoso.com")
    assert rows.related("batches", "B2", "domains") == ("eu.contoso.com",)
    assert rows.related("domains", "contoso.com", "batches") == ("B1",)
    assert rows.related("mailboxes", "cy@contoso.com", "batches") == ()
    assert rows.related("servers", "ex01", "organisation") == ("contoso",)
    with pytest.raises(LookupError):
        rows.related("groups", "all@contoso.com", "batches")


@pytest.mark.parametrize(
    ("old", "new", "summary"),
    [
        ("exchange: 2007", "exchnage: 2007", "unknown setting"),
        ("migration: contoso\n", "", "missing setting"),
        ("batch: B1, items", "batch: B9, items", "unknown batch"),
        ("server: ex01, batch: B2", "server: ex02, batch: B2", "unknown server"),
        ("bo@eu.contoso.com", "ANNA@contoso.com", "named twice"),
        ("bo@eu.contoso.com", "anna.B@contoso.com", "address used twice"),
        ("address: all@contoso.com", "address: a@eu.contoso.com", "address used twice"),
        ("bo@eu.contoso.com", "Bo <bo@x.de>", "not an address"),
        ("items: 12", "items: many", "wrong type"),
        ("Contoso.com,", "straße.de,", "not a domain"),
        ("zone: contoso.com", "zone: fabrikam.com", "domain outside of its zone"),
        ("Europe/Berlin", "Europe/Berln", "unknown time zone"),
        ("[friday]", "[freitag]", "wrong type"),
        ("20:00", "25:00", "wrong type"),
        ("windows:", "relations: {mailboxes.x: {to: batches, one: true}}\nwindows:", "unknown column"),
        ("windows:", "connections: {smtp: {password: hunter22}}\nwindows:", "secret written out"),
        ("windows:", "connections: {dns: {update: {secret: hunter22}}}\nwindows:", "secret written out"),
        ("windows:", "connections: {dns: {options: {auth_token: hunter22}}}\nwindows:", "secret written out"),
        ("windows:", "connections: {smtp: {hots: x}}\nwindows:", "unknown setting"),
        ("[{server: ex01}]", "servers.csv", "file cannot be read"),
        ("[{server: ex01}]", "../servers.csv", "file outside of the migration"),
        ("{batch: B1}", "{batch: B1, csv: no.csv}", "file cannot be read"),
    ],
)
def test_a_mistake_is_told_where_it_stands(tmp_path: Path, old: str, new: str, summary: str) -> None:
    problems = found(tmp_path, INVENTORY.replace(old, new, 1))
    assert summary in [each.summary for each in problems]
    assert all(each.mark for each in problems)
    assert "hunter22" not in repr(problems)


def test_batches_by_their_csv_files(tmp_path: Path) -> None:
    text = INVENTORY.replace("[{batch: B1}, {batch: B2}]", "[{batch: B1, csv: b1.csv}, {batch: B2}]").replace(
        ", batch: B1,", ","
    )
    (tmp_path / "b1.csv").write_text("EmailAddress\nAnna@contoso.com\n")
    inventory = loaded(tmp_path, text)
    assert inventory.related("mailboxes", "anna@contoso.com", "batches") == ("B1",)
    assert inventory.fields("batches", "B1")["csv"] == str(tmp_path / "b1.csv")
    (tmp_path / "b1.csv").write_text("EmailAddress\nAnna@contoso.com\nbo@eu.contoso.com\nnobody@contoso.com\n")
    assert [each.summary for each in found(tmp_path, text)] == ["batches disagree", "unknown mailbox"]


def test_a_cutover_has_one_batch_for_all(tmp_path: Path) -> None:
    text = (
        INVENTORY.replace("staged", "cutover")
        .replace(", {batch: B2}", "")
        .replace(", batch: B1", "")
        .replace(", batch: B2", "")
    )
    assert len(loaded(tmp_path, text).related("batches", "B1", "mailboxes")) == 3


def test_files_of_connections_lie_beside_the_inventory_wherever_it_is_read_from(tmp_path: Path) -> None:
    text = INVENTORY + "connections:\n  ews: {provider: list, file: counts.csv}\n  directory: {ca_file: /etc/ca.pem}\n"
    connections = loaded(tmp_path, text).connections
    assert connections["ews"]["file"] == str(tmp_path / "counts.csv")
    assert connections["directory"]["ca_file"] == "/etc/ca.pem"


def test_twenty_thousand_mailboxes_are_related_to_their_second_domain(tmp_path: Path) -> None:
    lines = [
        f"u{n}@contoso.com,User {n},user,a{n}@eu.contoso.com,ex01,DB,{n},B{n % 2 + 1},E3,DE" for n in range(20_000)
    ]
    (tmp_path / "m.csv").write_text(
        "address,name,type,aliases,server,database,items,batch,sku,usage_location\n" + "\n".join(lines)
    )
    head, rest = INVENTORY.split("  mailboxes:\n")
    inventory = loaded(
        tmp_path,
        head + "  mailboxes: m.csv\n" + rest[rest.index("  groups:") :].replace(", members: anna@contoso.com", ""),
    )
    assert len(inventory.related("domains", "eu.contoso.com", "mailboxes")) == 20_000


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("address,name\na@b.de\n", "wrong number of values"),
        ("address;name\na@b.de;x\n", "not comma separated"),
        ("address,address\na@b.de,x\n", "column named twice"),
        ('address\n"a@b.de\n', "CSV syntax"),
        ("<html>", "not a CSV file"),
        ("adress\na@b.de\n", "no key column"),
        ("", "the file is empty"),
    ],
)
def test_csv_is_read_strictly(tmp_path: Path, text: str, summary: str) -> None:
    (tmp_path / "g.csv").write_text(text)
    start = INVENTORY.index("  groups:")
    end = INVENTORY.index("\n", start)
    assert summary in [
        each.summary for each in found(tmp_path, INVENTORY[:start] + "  groups: g.csv" + INVENTORY[end:])
    ]


def test_a_proxys_password_is_not_written_out(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text("migration: m\ntype: staged\nconnections:\n  graph: {proxy: 'http://u:hidden@proxy:8080'}\n")
    with pytest.raises(Invalid) as caught:
        load(path)
    problem, = caught.value.problems
    assert problem.summary == "secret written out" and "hidden" not in str(problem)
    path.write_text("migration: m\ntype: staged\nconnections:\n  graph: {proxy: !secret env:PROXY}\n"
                    "  exchange_online: {proxy: 'http://proxy:8080'}\n")
    load(path)
