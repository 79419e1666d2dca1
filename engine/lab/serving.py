"""The lab with all its parts, wired and listening: source and cloud of one organisation, one clock, on one event loop.

The program `python -m engine.lab` runs it on a real loop; a simulator may run it on one of its own.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from engine.lab import http
from engine.lab.clock import START, Clock
from engine.lab.cmdlets import Cmdlets
from engine.lab.control import Control
from engine.lab.counters import Counters
from engine.lab.desk import Desk
from engine.lab.exchange_online import ExchangeOnline
from engine.lab.faults import Faults, Level
from engine.lab.graph import Graph
from engine.lab.http import Gate
from engine.lab.migration import Migration
from engine.lab.organisation import Organisation
from engine.lab.outside_servers import OutsideServers
from engine.lab.source import serve as serve_source
from engine.lab.source_shell import SourceShell
from engine.lab.tenant import Tenant
from engine.lab.tokens import ROLES, Tokens

HOST = "127.0.0.1"
CLIENT_ID = "5d1f2a6c-3b7e-4c55-9a53-6f1d0c7e1ab0"


@dataclass
class Laboratory:
    """Everything listens. `ready`: what is told to those who come: control, connections, clock, ca_file, tenant."""

    ready: Mapping[str, Any]
    clock: Clock
    counters: Counters
    faults: Faults
    organisation: Organisation
    tenant: Tenant
    migration: Migration
    control: Control
    tokens: Tokens
    runners: list[web.AppRunner]

    async def close(self) -> None:
        for each in self.runners:
            await each.cleanup()


async def laboratory(description: dict[str, Any], folder: Path, seed: int, gated: bool, level: Level) -> Laboratory:
    """Wire it and listen, on the loop that runs."""
    start = description.get("start")
    clock = Clock(_moment(start) if start else START)
    counters, faults = Counters(), Faults(seed, level)
    organisation = Organisation.from_rows(description, seed, clock)
    tenant = Tenant(description, organisation, clock, seed, counters, faults)
    migration = Migration(tenant)
    cmdlets = Cmdlets(tenant, migration)
    gate = Gate(faults, counters)
    # Drawn from the seed like everything else: two runs of one seed are the same run.
    secret = description.get("client_secret") or f"lab-{tenant.identifier('client secret')}"
    tokens = Tokens(tenant.id, CLIENT_ID, secret, clock, faults, counters, description.get("roles", ROLES))

    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(authority.cert_pem.bytes())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", HOST).configure_cert(context)

    runners = []
    urls = {}
    for name, handler in (("sign-in", tokens.handle), ("graph", Graph(tenant, tokens, gate).handle),
                          ("exchange_online", ExchangeOnline(cmdlets, tokens, gate).handle)):
        runner, port = await http.serve(handler, HOST, context, faults, clock.now)
        runners.append(runner)
        urls[name] = f"https://localhost:{port}"
    sign_in = {"authority": f"{urls['sign-in']}/{tenant.id}", "client_id": CLIENT_ID, "client_secret": secret,
               "ca_file": str(ca_file)}
    sender = {"sender": description["sender"]} if description.get("sender") else {}
    connections = {"graph": {"url": urls["graph"], **sign_in, **sender},
                   "exchange_online": {"url": urls["exchange_online"], **sign_in, "shell": "none"}}
    connections |= await serve_source(organisation, tenant.transport, faults, clock, HOST, authority, folder, counters)

    def state() -> dict[str, Any]:
        return {"source": organisation.state(), "tenant": tenant.state(), "migration": migration.state()}

    # The lab's own doors stay open beside them; nobody is told of those.
    servers = OutsideServers(description.get("outside") or {}, organisation)
    connections |= servers.connections
    faults.look_outside = servers.look

    def mail() -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = dict(tenant.transport.delivered())
        for each in organisation.delivered:
            if each["where"] == "source":
                found.setdefault(each["recipient"], []).append(each)
        return found

    control = Control(clock, counters, faults, Desk(cmdlets, SourceShell(organisation)), state, mail, gated, servers,
                      tokens.issued)
    runner, port = await http.listen(control.application(), HOST, handler_cancellation=True)
    runners.append(runner)
    address = f"http://{HOST}:{port}"
    ready = {"control": address, "connections": connections, "clock": {"url": address}, "ca_file": str(ca_file),
             "tenant": {"id": tenant.id, "domain": tenant.initial_domain}}
    return Laboratory(ready, clock, counters, faults, organisation, tenant, migration, control, tokens, runners)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
