"""The two servers that the directory's cases are held against: the lab's LDAP and a real domain controller.

One organisation for both, with mailboxes for each case, so that one server serves a whole file. A file that imports the
fixture `server` runs each of its cases twice.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ldap3
import pytest

from engine.connections import Site
from engine.connections.directory import Directory
from engine.connections.directory_line import Line
from engine.connections.directory_objects import BACKUP, SourceRecipient
from engine.connections.secrets import Secret
from engine.contract import Denied
from engine.modules.base import Module
from engine.world import World
from tests.lab.source_stand import stand
from tests.servers import samba
from tests.servers.process import Process

CLOUD = "contoso.onmicrosoft.com"
CLOUD_GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
#: more than one range of values, and more than three pages
PARTNERS = 1600

DESCRIPTION: dict[str, Any] = {
    "type": "staged", "exchange": "2007", "tenant": {"id": "t", "domain": CLOUD},
    "vars": {"source_account": "CORP\\migadmin", "rpc_proxy_server": "mail.contoso.com"},
    "preparation": {"foreign": {"rights@contoso.com": "manager", "line@contoso.com": "publicDelegates",
                                "everyone@contoso.com": "managedBy"}},
    "rows": {
        "domains": [{"domain": "contoso.com"}, {"domain": "fabrikam.com", "zone": "fabrikam.com"}],
        "servers": [{"server": "ex01.corp.contoso.com"}, {"server": "ex02.corp.contoso.com"}],
        "mailboxes": [
            {"address": "anna@contoso.com", "name": "Anna Müller, Dr.", "aliases": "a.mueller@fabrikam.com",
             "um": "4711"},
            {"address": "room@contoso.com", "name": "Raum", "type": "room", "hidden": True},
            {"address": "pool@contoso.com", "name": "Pool", "type": "shared", "server": "ex02.corp.contoso.com"},
            {"address": "odd@contoso.com", "name": "O'Brien / R&D #1 <x>; \"y\" + z"},
            *({"address": f"{name}@contoso.com", "name": name.capitalize()}
              for name in ("twin1", "twin2", "set", "case", "forward", "convert", "moved", "rights", "line", "lead"))],
        "recipients": [{"address": f"partner{n}@partner.example", "name": f"Partner {n}"} for n in range(PARTNERS)],
        "groups": [
            {"address": "everyone@contoso.com", "name": "Everyone",
             "members": ";".join(f"partner{n}@partner.example" for n in range(PARTNERS))},
            {"address": "team@contoso.com", "name": "Team", "security": "true", "managed_by": "lead@contoso.com",
             "members": "lead@contoso.com;anna@contoso.com;everyone@contoso.com"}],
    },
}


@dataclass
class Server:
    """One of the two. troubled(word): settings of an account that cannot sign in, for the time of a `with`."""

    name: str
    settings: Mapping[str, Any]
    administrator: Mapping[str, Any]
    troubled: Any
    start_tls_port: int
    no_rights: Mapping[str, Any]
    process: Process | None = None

    def site(self, **changes: Any) -> Site:
        settings = {**self.settings, **changes}
        world = World(environment={"SOURCE_PASSWORD": settings["password"]})
        return Site({"directory": {**settings, "password": Secret("env", "SOURCE_PASSWORD")}},
                    {"migration": "test"}, world)

    def client(self, **changes: Any) -> Directory:
        return self.site(**changes).directory

    def line(self, **changes: Any) -> Line:
        site = self.site(**changes)
        return Line("directory", {**self.settings, **changes}, site)

    def dn(self, address: str) -> str:
        found = self.client().find([address])[address]
        assert isinstance(found, SourceRecipient)
        return found.dn

    def raw(self, dn: str) -> dict[str, tuple[bytes, ...]]:
        """Every attribute, asked by another way than ours: with the administrator's eyes."""
        with self.administered() as line:
            line.search(dn, "(objectClass=*)", ldap3.BASE, attributes=list(BACKUP))
            found = next(entry for entry in line.response if entry["type"] == "searchResEntry")
            return {name: tuple(values) for name, values in found["raw_attributes"].items() if values}

    def arrange(self, dn: str, changes: Mapping[str, Any]) -> None:
        with self.administered() as line:
            line.modify(dn, changes)
            assert line.result["result"] == 0, line.result

    @contextmanager
    def administered(self) -> Iterator[ldap3.Connection]:
        given = self.administrator
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=given["ca_file"])
        server = ldap3.Server(given["host"], given["port"], use_ssl=True, tls=tls, get_info=ldap3.NONE)
        line = ldap3.Connection(server, given["user"], given["password"], check_names=False, auto_referrals=False,
                                return_empty_attributes=False)
        assert line.bind(), line.result
        yield line
        line.unbind()


@pytest.fixture(scope="module", params=["lab", pytest.param("samba", marks=pytest.mark.server("samba"))])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(request.param)
    with {"lab": _lab, "samba": _samba}[request.param](folder) as made:
        yield made


@contextmanager
def _lab(folder: Path) -> Iterator[Server]:
    with stand(folder, rows=DESCRIPTION) as lab:
        settings = {**lab.connections["directory"]}

        @contextmanager
        def troubled(word: str) -> Iterator[Mapping[str, Any]]:
            lab.faults.set({"kind": "account", "account": "migadmin", "trouble": word})
            yield settings
            lab.faults.set({"kind": "account", "account": "migadmin", "trouble": ""})

        yield Server("lab", settings, settings, troubled, settings["start_tls_port"], {})


@contextmanager
def _samba(folder: Path) -> Iterator[Server]:
    opening = {"denied": ["room@contoso.com"], "receive_as": ["pool@contoso.com"]}
    with samba.domain_controller(samba.organisation_of(DESCRIPTION), folder, opening) as dc:
        reader = dc.account(f"CORP\\{samba.READER}", samba.READER_PASSWORD)
        made = Server("samba", dc.settings, dc.administrator, None, 389, reader, dc.process)
        reader_dn = f"CN={samba.READER},CN=Users,{dc.base}"
        troubles = {
            "must change": ((reader_dn, {"pwdLastSet": "0"}), (reader_dn, {"pwdLastSet": "-1"})),
            "disabled": ((reader_dn, {"userAccountControl": "514"}), (reader_dn, {"userAccountControl": "512"})),
            "locked": ((dc.base, {"lockoutThreshold": "2"}), (dc.base, {"lockoutThreshold": "0"})),
        }

        @contextmanager
        def troubled(word: str) -> Iterator[Mapping[str, Any]]:
            if word == "expired":
                yield dc.account(f"CORP\\{samba.FORGOTTEN}", samba.READER_PASSWORD)
                return
            with made.administered() as line:  # open before nobody can sign in any more
                (dn, on), (_, off) = troubles[word]
                line.modify(dn, {name: [(ldap3.MODIFY_REPLACE, [value])] for name, value in on.items()})
                assert line.result["result"] == 0, line.result
                if word == "locked":
                    for _ in range(3):
                        with pytest.raises(Denied):
                            made.client(**{**reader, "password": "wrong-password"}).mailboxes()
                yield reader
                line.modify(dn, {name: [(ldap3.MODIFY_REPLACE, [value])] for name, value in off.items()})
                assert line.result["result"] == 0, line.result
                line.modify(reader_dn, {"lockoutTime": [(ldap3.MODIFY_REPLACE, ["0"])]})

        made.troubled = troubled
        yield made


def read(server: Server, task: Module) -> Any:
    return task.read(server.site())


def act(server: Server, task: Module) -> None:
    """As the engine does: read, compare, apply."""
    diff = task.difference(read(server, task))
    assert diff is not None
    task.apply(server.site(), diff)
