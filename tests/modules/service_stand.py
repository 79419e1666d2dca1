"""Organisations for the tests of the migration service: any number of mailboxes, endpoint and domains in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.connections.batch_csv import write
from engine.contract import Handover
from engine.modules.migration_batch import MigrationBatch
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.tenant_domain import TenantDomain
from tests.modules.lab_cloud import DOMAIN, Lab, description, running

ENDPOINT = "contoso-endpoint"


def address(name: str) -> str:
    return f"{name}@{DOMAIN}"


def organisation(kind: str, names: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """An organisation of these mailboxes; each name's mapping adds to, or changes, its row."""
    found = description(kind) | more
    pattern = found["rows"]["mailboxes"][0]
    found["rows"]["mailboxes"] = [
        {**pattern, "address": address(name), "name": name.title(), **changes} for name, changes in names.items()]
    found["rows"]["groups"] = more.get("groups", [])
    found["rows"]["domains"] = more.get("domains", found["rows"]["domains"])
    found["vars"]["test_mailbox"] = found["rows"]["mailboxes"][0]["address"]
    return found


@contextmanager
def service(kind: str, folder: Path, names: Mapping[str, Mapping[str, Any]], **more: Any) -> Iterator[Lab]:
    """A lab whose domain is verified and whose endpoint exists; a staged one has its mail users."""
    described = organisation(kind, names, **more)
    with running(kind, folder, described=described) as lab:
        (folder / "Batch01.csv").unlink()  # each test writes its own
        for state in ("present", "verified"):
            domain = TenantDomain(domain=DOMAIN, state=state)  # type: ignore[arg-type]
            lab.act(domain)
            found = lab.settled(domain, within=3600)
            if state == "present" and found is not None:
                lab.publish(DOMAIN, str(found["verification_txt"]))
                lab.pass_time(900)
        lab.pass_time(3600)
        typed_endpoint(lab)
        yield lab


def endpoint(**changes: Any) -> MigrationEndpoint:
    given: dict[str, Any] = {
        "name": ENDPOINT, "email_address": address("anna"), "account": "CORP\\migadmin", "autodiscover": False,
        "exchange_server": "ex01.corp.contoso.com", "rpc_proxy_server": "mail.contoso.com"}
    return MigrationEndpoint(**(given | changes))


def typed(lab: Lab, handed: object, password: str = "") -> dict[str, Any]:
    """A person types a handed-over text with the source account's password; what the shell said."""
    assert isinstance(handed, Handover)
    said = lab.control("/desk", {"script": handed.text, "user": "CORP\\migadmin",
                                 "password": password or lab.ready["connections"]["directory"]["password"]})
    assert isinstance(said, dict)
    return said


def typed_endpoint(lab: Lab, **changes: Any) -> None:
    said = typed(lab, lab.act(endpoint(**changes)))
    assert said["ok"], said


def list_file(folder: Path, names: list[str], batch: str = "Batch01") -> str:
    path = folder / f"{batch}.csv"
    path.write_bytes(write([address(each) for each in names]))
    return str(path)


def batch(folder: Path, state: str = "started", name: str = "Batch01", **more: Any) -> MigrationBatch:
    csv = folder / f"{name}.csv"
    return MigrationBatch(name=name, endpoint=ENDPOINT, csv=str(csv) if csv.exists() else "",
                          state=state, **more)  # type: ignore[arg-type]
