"""A batch's list beside the live source and the tenant (S-09, S-11, S-14, S-24, S-33)."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from engine.connections.batch_csv import Member, write
from engine.connections.list_digest import make_key
from engine.contract import Failing, Invalid, State
from engine.modules.batch_list import BatchList
from tests.modules.lab_cloud import Lab
from tests.modules.service_stand import address, batch, list_file, service


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lists")
    names = {"anna": {"aliases": ["a.ek@contoso.com"]}, "ben": {}, "carla": {}}
    domains = [{"domain": "contoso.com", "zone": "contoso.com", "authentication": "federated"}]
    groups = [{"address": address("staff"), "name": "Staff", "security": False, "members": [address("anna")]}]
    with service("staged", folder, names, groups=groups, domains=domains) as found:
        list_file(folder, ["carla"], "Other")
        found.act(batch(folder, "created", "Other"))
        yield found


def look(lab: Lab, folder: Path, *members: Member | str) -> tuple[State, str]:
    """The state read, and the words of its outlook."""
    path = folder / "Batch01.csv"
    path.write_bytes(write(members))
    module = BatchList(batch="Batch01", csv=str(path))
    state = lab.read(module)
    assert state is not None
    diff = module.difference(state)
    if diff is None:
        return state, ""
    outlook = module.outlook(state, diff)
    assert isinstance(outlook, Failing) and not outlook.retry
    return state, outlook.reason


@pytest.mark.requirement("S-09", "S-24")
def test_a_list_of_mailboxes_fits_and_its_hash_stays_beside_the_batch(lab: Lab, tmp_path: Path) -> None:
    state, told = look(lab, tmp_path, address("anna"), address("ben"))
    assert state["fits"] and told == "" and state["rows"] == 2
    assert state["sha256"] == sha256((tmp_path / "Batch01.csv").read_bytes()).hexdigest()


@pytest.mark.requirement("S-24")
def test_of_a_list_with_passwords_only_a_keyed_digest_is_kept(lab: Lab, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    exports = tmp_path / "exports"
    monkeypatch.setattr(lab.site, "settings", {**lab.site.settings, "exports": str(exports)})
    members = [Member(address("anna"), "Canary-Pass-1"), Member(address("ben"))]
    assert look(lab, tmp_path, *members)[0]["sha256"] == ""  # a plan makes no key
    exports.mkdir()
    make_key(exports, lab.site.world)
    key = (exports / "lists.key").read_bytes()
    assert len(key) == 32 and (exports / "lists.key").stat().st_mode & 0o777 == 0o600
    first = str(look(lab, tmp_path, *members)[0]["sha256"])
    assert first.startswith("keyed ") and sha256((tmp_path / "Batch01.csv").read_bytes()).hexdigest() not in first
    make_key(exports, lab.site.world)  # the next run has the same
    assert look(lab, tmp_path, *members)[0]["sha256"] == first and (exports / "lists.key").read_bytes() == key
    assert look(lab, tmp_path, Member(address("anna"), "Canary-Pass-2"), members[1])[0]["sha256"] != first
    (exports / "lists.key").write_bytes(bytes(32))
    assert look(lab, tmp_path, *members)[0]["sha256"] != first


@pytest.mark.requirement("S-09")
@pytest.mark.parametrize("who", ["staff", "nobody"])
def test_a_group_and_an_unknown_address_are_no_mailboxes(lab: Lab, tmp_path: Path, who: str) -> None:
    state, told = look(lab, tmp_path, address("anna"), address(who))
    assert state["misfits"] == 1 and f"Row 2, {address(who)}, is no mailbox of the source" in told


@pytest.mark.requirement("S-11")
def test_a_further_address_is_answered_with_the_primary_one(lab: Lab, tmp_path: Path) -> None:
    state, told = look(lab, tmp_path, "a.ek@contoso.com")
    assert not state["fits"] and "a further address of anna@contoso.com: write that one" in told


@pytest.mark.requirement("S-14")
def test_a_federated_domain_forbids_to_force_a_change_of_password(lab: Lab, tmp_path: Path) -> None:
    state, told = look(lab, tmp_path, Member(address("anna"), "Wint3r-Tree", False),
                       Member(address("ben"), "Wint3r-Tree", True))
    assert state["misfits"] == 1 and "Row 2: ben@contoso.com asks for True" in told and "S-14" in told
    state, told = look(lab, tmp_path, Member(address("ben"), "Wint3r-Tree", False))
    assert state["fits"]


@pytest.mark.requirement("S-33")
def test_a_mailbox_of_another_batch_is_told_with_its_name(lab: Lab, tmp_path: Path) -> None:
    _, told = look(lab, tmp_path, address("anna"), address("carla"))
    assert "Row 2, carla@contoso.com, is already in batch Other" in told


def test_everything_that_does_not_fit_is_counted_and_three_are_told(lab: Lab, tmp_path: Path) -> None:
    state, told = look(lab, tmp_path, *(address(f"nobody{n}") for n in range(5)))
    assert state["misfits"] == 5 and "And 2 more." in told and told.count("Row ") == 3


@pytest.mark.requirement("S-18")
def test_a_list_that_cannot_be_read_is_refused_before_anything_is_asked(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "Batch01.csv").write_text("EmailAddress\r\n")
    with pytest.raises(Invalid):
        lab.read(BatchList(batch="Batch01", csv=str(tmp_path / "Batch01.csv")))
