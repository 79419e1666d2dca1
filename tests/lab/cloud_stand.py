"""A small organisation with its tenant, in memory: what the tests of the cloud half share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from engine.lab.clock import Clock
from engine.lab.cmdlets import Cmdlets
from engine.lab.counters import Counters
from engine.lab.desk import Desk
from engine.lab.exchange_online import ExchangeOnline
from engine.lab.faults import LEVELS, Faults
from engine.lab.graph import Graph
from engine.lab.http import Gate, Request
from engine.lab.migration import Migration
from engine.lab.organisation import Organisation
from engine.lab.source_shell import SourceShell
from engine.lab.tenant import Tenant
from engine.lab.tokens import Tokens

TENANT_ID = "9a1e0000-0000-4000-8000-000000000001"
SKU = "6fd2c87f-b296-42f0-b197-1e91e994b900"
SECRET = "the-app-secret"


def description(kind: str = "staged", count: int = 6, exchange: str = "2007", **more: Any) -> dict[str, Any]:
    rows = [{"address": f"user{n}@contoso.com", "name": f"User {n}", "type": "user", "aliases": f"u{n}@contoso.com",
             "server": "ex01.corp.contoso.com", "database": "db1", "items": 100 + n, "sku": "ENTERPRISEPACK",
             "usage_location": "DE"} for n in range(count)]
    return {
        "type": kind, "exchange": exchange, "tenant": {"id": TENANT_ID, "domain": "contoso.onmicrosoft.com"},
        "vars": {"rpc_proxy_server": "mail.contoso.com"},
        "rows": {
            "domains": [{"domain": "contoso.com", "zone": "contoso.com", "label": "@"}],
            "servers": [{"server": "ex01.corp.contoso.com", "exchange": exchange}],
            "mailboxes": rows,
            "groups": [{"address": "all@contoso.com", "name": "All", "security": "false",
                        "members": "user0@contoso.com;user1@contoso.com", "managed_by": "user0@contoso.com"}],
        }} | more


@dataclass
class Cloud:
    """Everything of the cloud half over a real source organisation, without sockets."""

    clock: Clock
    counters: Counters
    faults: Faults
    organisation: Organisation
    tenant: Tenant
    migration: Migration
    cmdlets: Cmdlets
    desk: Desk
    tokens: Tokens
    graph_service: Graph
    exchange_service: ExchangeOnline

    def sign_in(self, scope: str) -> str:
        body = f"grant_type=client_credentials&client_id=app&client_secret={SECRET}&scope={scope}/.default"
        said = self.tokens.handle(Request("POST", f"/{TENANT_ID}/oauth2/v2.0/token", body=body.encode(),
                                          origin="https://sign-in"))
        return str(json.loads(said.body)["access_token"])

    def graph(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        token = self.sign_in("https://graph.microsoft.com")
        said = self.graph_service.handle(Request(
            method, f"/v1.0{path}", {f"${name}": value for name, value in query.items()},
            {"authorization": f"Bearer {token}"}, b"" if body is None else json.dumps(body).encode(),
            "https://localhost:1"))
        return said.status, json.loads(said.body) if said.body else None

    def exo(self, name: str, /, headers: dict[str, str] | None = None, query: dict[str, str] | None = None,
            **parameters: Any) -> tuple[int, Any]:
        token = self.sign_in("https://outlook.office365.com")
        body = {"CmdletInput": {"CmdletName": name, "Parameters": parameters}}
        said = self.exchange_service.handle(Request(
            "POST", f"/adminapi/beta/{TENANT_ID}/InvokeCommand", query or {},
            {"authorization": f"Bearer {token}"} | (headers or {}), json.dumps(body).encode(), "https://localhost:2"))
        return said.status, json.loads(said.body) if said.body else None

    def rows(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        status, document = self.exo(name, **parameters)
        assert status == 200, document
        return list(document["value"])

    def row(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        found = self.rows(name, **parameters)
        assert len(found) == 1, found
        return found[0]

    def refusal(self, name: str, /, **parameters: Any) -> str:
        """The refusal as "ExceptionClass|text"."""
        status, document = self.exo(name, **parameters)
        assert status >= 400, document
        return str(document["error"]["details"][0]["message"]).split("|", 1)[1]

    def hours(self, count: float) -> None:
        self.clock.advance(count * 3600)

    def own_domain(self, name: str = "contoso.com") -> None:
        """Add, prove and verify a domain, and wait until Exchange Online accepts it."""
        assert self.graph("POST", "/domains", {"id": name})[0] == 201
        text = self.tenant.domains[name].verification
        publish(self.organisation, name, text)
        self.hours(0.5)
        assert self.graph("POST", f"/domains/{name}/verify")[0] == 200
        self.hours(1)

    def endpoint(self, name: str = "onprem", slots: int = 20) -> None:
        said = self.desk.type(
            f"New-MigrationEndpoint -Name {name} -ExchangeOutlookAnywhere -ExchangeServer ex01.corp.contoso.com "
            f"-RpcProxyServer mail.contoso.com -EmailAddress user0@contoso.com -Credentials (Get-Credential) "
            f"-MaxConcurrentMigrations {slots}", self.organisation.account, self.organisation.password)
        assert said["ok"], said

    def batch(self, addresses: list[str] | None, name: str = "Batch01") -> None:
        more = {} if addresses is None else {"CSVData": csv(addresses)}
        self.row("New-MigrationBatch", Name=name, SourceEndpoint="onprem", Confirm=False, **more)
        self.rows("Start-MigrationBatch", Identity=name, Confirm=False)


def cloud(described: dict[str, Any] | None = None, seed: int = 3, level: str = "none") -> Cloud:
    described = described or description()
    clock, counters, faults = Clock(), Counters(), Faults(seed, LEVELS[level])
    organisation = Organisation.from_rows(described, seed, clock)
    tenant = Tenant(described, organisation, clock, seed, counters, faults)
    organisation.cloud, organisation.effect = tenant.transport, counters.effect
    migration = Migration(tenant)
    cmdlets = Cmdlets(tenant, migration)
    gate = Gate(faults, counters)
    tokens = Tokens(tenant.id, "app", SECRET, clock, faults, counters)
    return Cloud(clock, counters, faults, organisation, tenant, migration, cmdlets,
                 Desk(cmdlets, SourceShell(organisation)), tokens, Graph(tenant, tokens, gate),
                 ExchangeOnline(cmdlets, tokens, gate))


def csv(addresses: list[str]) -> dict[str, Any]:
    data = "EmailAddress\r\n" + "".join(f"{each}\r\n" for each in addresses)
    return {"@odata.type": "#Exchange.ByteArrayType", "Data": list(data.encode())}


def publish(organisation: Organisation, name: str, text: str) -> None:
    """Put a TXT record into the source's zone, as a person at the name server would."""
    import dns.name
    import dns.update

    update = dns.update.UpdateMessage(
        name, keyring=_keyring(organisation), keyname=organisation.dns.key_name, keyalgorithm="hmac-sha256")
    update.add(dns.name.from_text(name), 3600, "TXT", f'"{text}"')
    answer = organisation.dns.answer(update.to_wire(), "ns1", udp=False)
    assert answer is not None and answer[3] & 0xF == 0, answer


def _keyring(organisation: Organisation) -> Any:
    import dns.tsigkeyring

    return dns.tsigkeyring.from_text({organisation.dns.key_name: organisation.dns.secret})
