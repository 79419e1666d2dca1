"""Generated organisations: the same bytes from the same seed, in the form the service and the inventory take."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from source_stand import CloudStand

from engine.lab.clock import Clock
from engine.lab.generate import Order, company, main, write
from engine.lab.organisation import Organisation

ROOT = Path(__file__).parents[2]


class Loader(yaml.SafeLoader):
    """Knows `!secret source:name`."""


Loader.add_constructor("!secret", lambda loader, node: f"secret {loader.construct_scalar(node)}")  # type: ignore[no-untyped-call]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("kind", "count"), [("staged", 240), ("cutover", 40)])
def test_the_samples_are_what_the_generator_writes(tmp_path: Path, kind: str, count: int) -> None:
    assert main(["--type", kind, "--mailboxes", str(count), "--seed", "1", str(tmp_path)]) == 0
    assert files(ROOT / "inventory" / kind) == files(tmp_path)


@pytest.mark.parametrize("count", [1, 30, 240, 1000])
def test_a_staged_organisation_is_consistent(tmp_path: Path, count: int) -> None:
    write(company(Order("staged", count, 7)), tmp_path)
    mailboxes, groups = rows(tmp_path / "mailboxes.csv"), rows(tmp_path / "groups.csv")
    inventory = yaml.load((tmp_path / "inventory.yml").read_text(encoding="utf-8"), Loader)
    assert len(mailboxes) == count
    batch_of = {row["address"]: row["batch"] for row in mailboxes}
    every = [address for row in mailboxes for address in (row["address"], *filter(None, row["aliases"].split(";")))]
    every += [group["address"] for group in groups]
    assert len(every) == len(set(every)), "two recipients share an address"
    assert all(address.isascii() and address == address.lower() for address in every)
    known = {domain["domain"] for domain in inventory["rows"]["domains"]}
    assert {address.partition("@")[2] for address in every} <= known
    people = {row["address"] for row in mailboxes if row["type"] == "user"}
    assert all(domain["probe_address"] in people for domain in inventory["rows"]["domains"])
    for group in groups:
        batches = {batch_of[member] for member in group["members"].split(";")}
        assert batches == {batch_of[group["managed_by"]]}, "a team is split over two batches"
    from_files: dict[str, str] = {}
    for batch in inventory["rows"]["batches"]:
        listed = rows(tmp_path / batch["csv"])
        assert 1 <= len(listed) <= 80
        assert list(listed[0]) == ["EmailAddress", "Password", "ForceChangePassword"]
        from_files |= {row["EmailAddress"]: batch["batch"] for row in listed}
    assert from_files == batch_of


def test_seeds_differ_and_wrong_orders_are_refused(tmp_path: Path) -> None:
    assert company(Order("staged", 50, 1)) == company(Order("staged", 50, 1))
    assert company(Order("staged", 50, 1)).mailboxes != company(Order("staged", 50, 2)).mailboxes
    with pytest.raises(ValueError, match=r"2,000"):
        company(Order("cutover", 2001, 1))
    with pytest.raises(ValueError, match="2003 and 2007"):
        company(Order("staged", 10, 1, exchange="2013"))


def test_the_lab_takes_the_samples_rows_as_they_are() -> None:
    folder = ROOT / "inventory" / "staged"
    inventory = yaml.load((folder / "inventory.yml").read_text(encoding="utf-8"), Loader)
    inventory["rows"] |= {"mailboxes": rows(folder / "mailboxes.csv"), "groups": rows(folder / "groups.csv")}
    first, second = (Organisation.from_rows(inventory, 5, Clock()) for _ in range(2))
    assert first.state() == second.state()
    assert {address: mailbox.guid for address, mailbox in first.mailboxes.items()} == {
        address: mailbox.guid for address, mailbox in second.mailboxes.items()}
    assert len(first.mailboxes) == 240
    assert {mailbox.type for mailbox in first.mailboxes.values()} == {"user", "shared", "room"}
    assert first.account_ok("migadmin@corp.contoso.com", first.password)
    assert not first.account_ok(first.account, "")
    lead = first.mailboxes[next(iter(first.groups.values())).managed_by or ""]
    assert "publicDelegates" in lead.entry.attributes
    first.cloud = CloudStand()
    with pytest.raises(ValueError, match="address"):
        Organisation.from_rows({**inventory, "rows": {**inventory["rows"], "mailboxes": [{"name": "x"}]}}, 5, Clock())
