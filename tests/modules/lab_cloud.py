"""A rehearsal organisation of a few mailboxes, in a process of its own, reached over sockets only."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from engine.connections import Site
from engine.connections.clock import RemoteClock
from engine.contract import Handover, State
from engine.modules.base import Module
from engine.world import World

DOMAIN = "contoso.com"
PEOPLE = ("anna", "ben", "carla")


def description(kind: str) -> dict[str, Any]:
    mailboxes = [{"address": f"{each}@{DOMAIN}", "name": each.title(), "type": "user",
                  "server": "ex01.corp.contoso.com", "database": "DB1", "items": 50, "batch": "Batch01",
                  "sku": "EXCHANGESTANDARD", "usage_location": "DE"} for each in PEOPLE]
    return {"type": kind, "exchange": "2007",
            "tenant": {"id": "46f346d5-0e72-456b-a5d1-74fe0436fdb0", "domain": "contoso.onmicrosoft.com"},
            "vars": {"endpoint_name": "contoso-endpoint", "source_account": "CORP\\migadmin",
                     "test_mailbox": f"anna@{DOMAIN}", "exchange_server": "ex01.corp.contoso.com",
                     "rpc_proxy_server": "mail.contoso.com", "source_autodiscover": "false"},
            "rows": {"domains": [{"domain": DOMAIN, "zone": DOMAIN}], "mailboxes": mailboxes,
                     "groups": [{"address": f"staff@{DOMAIN}", "name": "Staff", "security": True,
                                 "members": [f"anna@{DOMAIN}"]}],
                     "servers": [{"server": "ex01.corp.contoso.com", "exchange": "2007"}],
                     "batches": [{"batch": "Batch01", "csv": "Batch01.csv" if kind == "staged" else ""}]}}


class Lab:
    """The ready line, the control paths, and a Site like the one a run has."""

    def __init__(self, ready: dict[str, Any], settings: dict[str, Any]) -> None:
        self.ready = ready
        self.clock = RemoteClock(ready["clock"]["url"])
        self.site = Site(ready["connections"], settings, World(clock=self.clock, random=random.Random(1)))

    def control(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.ready["control"] + path, data=data)) as answer:
            return json.loads(answer.read())

    def pass_time(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.site.forget()

    def read(self, module: Module) -> State | None:
        self.site.forget()
        found = type(module).read_many(self.site, [module])[module.key()]
        assert found is None or isinstance(found, dict), found
        return found

    def act(self, module: Module) -> State | Handover | None:
        """One act, if the fresh read calls for it."""
        diff = module.difference(self.read(module))
        assert diff is not None, "nothing to do"
        answer = module.apply(self.site, diff)
        self.site.forget()
        return answer

    def settled(self, module: Module, *, within: float = 0.0, step: float = 900.0) -> State | None:
        """Read until it is as wanted; fails after so many virtual seconds."""
        while True:
            state = self.read(module)
            diff = module.difference(state)
            if diff is None:
                return state
            assert within > 0, (diff, state)
            within -= step
            self.pass_time(step)

    def publish(self, name: str, text: str) -> None:
        """Somebody puts a TXT record into public DNS (RFC 2136)."""
        import dns.query
        import dns.tsigkeyring
        import dns.update

        key = self.ready["connections"]["dns"]["update"]
        host, _, port = key["server"].rpartition(":")
        ring = dns.tsigkeyring.from_text({key["key_name"]: key["secret"]})
        update = dns.update.UpdateMessage(name, keyring=ring, keyalgorithm=key["algorithm"])
        update.add(name + ".", 3600, "TXT", f'"{text}"')
        assert dns.query.tcp(update, host, port=int(port), timeout=5).rcode() == 0


@contextmanager
def running(kind: str, folder: Path, faults: str = "none", described: dict[str, Any] | None = None) -> Iterator[Lab]:
    """`described`: another organisation than the one of three people."""
    described = described or description(kind)
    (folder / "organisation.json").write_text(json.dumps(described))
    (folder / "Batch01.csv").write_text(
        "EmailAddress\r\n" + "".join(f"{each}@{DOMAIN}\r\n" for each in PEOPLE))
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.lab", "--organisation", str(folder / "organisation.json"),
         "--folder", str(folder / "lab"), "--seed", "3", "--faults", faults], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        settings = {"tenant": described["tenant"], "type": kind, "exports": str(folder / "exports")}
        yield Lab(ready, settings)
    finally:
        process.terminate()
        process.communicate(timeout=10)  # closes what we read its address from
