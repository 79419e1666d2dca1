"""A whole staged migration with a real domain controller in the place of the lab's directory."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import ldap3
import pytest

from engine import app
from engine.lab import generate
from engine.rehearse import organisation, rehearse
from engine.world import World
from tests.servers import samba

pytestmark = [pytest.mark.slow, pytest.mark.server("samba")]


def test_a_staged_migration_converges_at_a_real_directory(tmp_path: Path) -> None:
    folder, world = tmp_path / "staged", World()
    generate.write(generate.company(generate.Order("staged", 8, seed=1)), folder)
    migration = app.load(app.place(folder / "playbook.yml", None, tmp_path / "state", world), {}, world)
    described = samba.organisation_of(organisation(migration), seed=1)
    with samba.domain_controller(described, tmp_path) as server:
        found = rehearse(migration, seed=1, faults="none", kills=[], folder=_made(tmp_path / "rehearsal"),
                         extra_vars={}, screen=None, world=world, outside=server.outside())
        after = _people(server)
    assert found.well, (found.last_words, found.parked)
    assert found.again_changed == 0 and not found.twice
    assert sorted(after) == sorted(described.mailboxes)
    for address, values in after.items():
        before = described.mailboxes[address].entry.attributes
        assert "homeMDB" not in values, address
        assert values["targetAddress"][0].lower().endswith(b"contoso.onmicrosoft.com")
        assert set(before["proxyAddresses"]) < set(values["proxyAddresses"])
        assert (values["mail"], values["legacyExchangeDN"]) == (list(before["mail"]), list(before["legacyExchangeDN"]))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _people(server: samba.DomainController) -> dict[str, dict[str, Any]]:
    """What stands in the directory, by another way than ours."""
    given = server.administrator
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=given["ca_file"])
    line = ldap3.Connection(ldap3.Server(given["host"], 636, use_ssl=True, tls=tls, get_info=ldap3.NONE),
                            given["user"], given["password"], auto_bind=True, check_names=False,
                            auto_referrals=False, return_empty_attributes=False)
    line.search(f"OU=People,{server.base}", "(&(objectClass=user)(mail=*))", attributes=["*"])
    return {entry["raw_attributes"]["mail"][0].decode(): entry["raw_attributes"] for entry in line.response
            if entry["type"] == "searchResEntry"}
