"""A source organisation, served on loopback by a loop in its own thread, for the tests beside this file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import trustme

from engine.lab.clock import Clock
from engine.lab.counters import Counters
from engine.lab.faults import Faults
from engine.lab.organisation import Organisation
from engine.lab.source import serve


@dataclass
class CloudStand:
    """The tenant's side of the seam: takes mail for the recipients it is given."""

    recipients: set[str] = field(default_factory=set)
    taken: list[tuple[str, str]] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)

    def accept(self, recipient: str, message_id: str, sender: str, subject: str, at: datetime) -> bool:
        if recipient not in self.recipients:
            return False
        self.taken.append((recipient, message_id))
        return True

    def is_mx_host(self, host: str) -> bool:
        return host.endswith(".mx.microsoft")


def description(exchange: str = "2007", mailboxes: int = 6) -> dict[str, Any]:
    return {
        "type": "staged", "exchange": exchange, "tenant": {"id": "t", "domain": "contoso.onmicrosoft.com"},
        "vars": {"source_account": "CORP\\migadmin", "rpc_proxy_server": "mail.contoso.com"},
        "rows": {
            "domains": [{"domain": "contoso.com"}, {"domain": "fabrikam.com", "zone": "fabrikam.com"}],
            "servers": [{"server": "ex01.corp.contoso.com"}],
            "mailboxes": [
                {"address": "anna@contoso.com", "name": "Anna Müller, Dr.", "aliases": "a.mueller@fabrikam.com",
                 "items": "123"},
                {"address": "room@contoso.com", "name": "Raum", "type": "room", "hidden": True, "fail": "E12"},
                *({"address": f"user{n}@contoso.com", "name": f"User {n}"} for n in range(mailboxes - 2))],
            "groups": [{"address": "team@contoso.com", "name": "Team", "security": "true",
                        "members": "anna@contoso.com;user0@contoso.com", "managed_by": "anna@contoso.com"}],
        },
    }


@dataclass
class Stand:
    organisation: Organisation
    cloud: CloudStand
    faults: Faults
    clock: Clock
    connections: dict[str, Any]

    @property
    def counters(self) -> Counters:
        return self.cloud.counters


@contextmanager
def stand(folder: Path, exchange: str = "2007", mailboxes: int = 6,
          rows: Mapping[str, Any] | None = None) -> Iterator[Stand]:
    """The described organisation; `rows` is another whole description."""
    ca, clock, cloud, faults = trustme.CA(), Clock(), CloudStand(), Faults()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    organisation = Organisation.from_rows(rows or description(exchange, mailboxes), 1, clock)
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, dict[str, Any]]] = Future()

    async def serving() -> None:
        over = asyncio.Event()
        try:
            begun.set_result((asyncio.get_running_loop(), over, await serve(
                organisation, cloud, faults, clock, "127.0.0.1", ca, folder, cloud.counters)))
        except Exception as error:
            begun.set_exception(error)
            return
        await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serving()), daemon=True)
    thread.start()
    loop, over, connections = begun.result(10)
    try:
        yield Stand(organisation, cloud, faults, clock, connections)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(5)
