"""`python -m engine.lab`: a whole organisation on loopback, source and cloud, in one process with one clock.

Prints one line of JSON when everything listens: control, connections, clock, ca_file, tenant.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

from engine.lab import http
from engine.lab.clock import START, Clock
from engine.lab.cmdlets import Cmdlets
from engine.lab.control import Control
from engine.lab.counters import Counters
from engine.lab.desk import Desk
from engine.lab.exchange_online import ExchangeOnline
from engine.lab.faults import LEVELS, Faults
from engine.lab.graph import Graph
from engine.lab.http import Gate
from engine.lab.migration import Migration
from engine.lab.outside_servers import OutsideServers
from engine.lab.source_shell import SourceShell
from engine.lab.tenant import Tenant
from engine.lab.tokens import ROLES, Tokens

HOST = "127.0.0.1"
CLIENT_ID = "5d1f2a6c-3b7e-4c55-9a53-6f1d0c7e1ab0"


async def run(description: dict[str, Any], folder: Path, seed: int, gated: bool, level: str) -> None:
    """Serve until `POST /stop` or a signal."""
    import trustme

    from engine.lab.organisation import Organisation
    from engine.lab.source import serve as serve_source

    start = description.get("start")
    clock = Clock(_moment(start) if start else START)
    counters, faults = Counters(), Faults(seed, LEVELS[level])
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
    connections |= await serve_source(organisation, tenant, faults, clock, HOST, authority, folder, counters)

    def state() -> dict[str, Any]:
        return {"source": organisation.state(), "tenant": tenant.state(), "migration": migration.state()}

    # The lab's own doors stay open beside them; nobody is told of those.
    servers = OutsideServers(description.get("outside") or {}, organisation)
    connections |= servers.connections
    faults.look_outside = servers.look

    def mail() -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = dict(tenant.mail())
        for each in organisation.delivered:
            if each["where"] == "source":
                found.setdefault(each["recipient"], []).append(each)
        return found

    control = Control(clock, counters, faults, Desk(cmdlets, SourceShell(organisation)), state, mail, gated, servers,
                      tokens.issued)
    runner, port = await http.listen(control.application(), HOST, handler_cancellation=True)
    runners.append(runner)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, control.stopped.set)
    address = f"http://{HOST}:{port}"
    print(json.dumps({"control": address, "connections": connections, "clock": {"url": address},
                      "ca_file": str(ca_file), "pid": os.getpid(),
                      "tenant": {"id": tenant.id, "domain": tenant.initial_domain}}), flush=True)
    await control.stopped.wait()
    for each in runners:
        await each.cleanup()


def _moment(text: str) -> Any:
    from datetime import UTC, datetime

    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.lab", description=__doc__)
    parser.add_argument("--organisation", type=Path, required=True, help="organisation file (JSON)")
    parser.add_argument("--folder", type=Path, required=True, help="for the CA certificate and other files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gated", action="store_true", help="a wait is held until it is granted")
    parser.add_argument("--faults", choices=sorted(LEVELS), default="none")
    given = parser.parse_args()
    description = json.loads(given.organisation.read_text(encoding="utf-8"))
    given.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(description, given.folder, given.seed, given.gated, given.faults))
    return 0


if __name__ == "__main__":
    sys.exit(main())
