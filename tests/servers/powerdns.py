"""PowerDNS on loopback: a DNS host with a web API, and the name server that shows what was written there."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.servers.dns_worlds import Lines
from tests.servers.presence import absent, program
from tests.servers.process import HOST, Process, answers_tcp, free_port

KEY = "api-key-of-the-test"
SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")

CONFIGURATION = """
launch=gsqlite3
gsqlite3-database={folder}/pdns.sqlite
local-address={host}
local-port={port}
api=yes
api-key={key}
webserver=yes
webserver-address={host}
webserver-port={web}
webserver-allow-from={host}
socket-dir={folder}
guardian=no
daemon=no
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
"""


class PowerDns:
    def __init__(self, folder: Path, zones: Mapping[str, Lines]) -> None:
        if not SCHEMA.exists():
            absent("pdns-backend-sqlite3 is not installed (make servers)")
        self.port, web = free_port(), free_port()
        self.url = f"http://{HOST}:{web}"
        with contextlib.closing(sqlite3.connect(folder / "pdns.sqlite")) as database:
            database.executescript(SCHEMA.read_text())
        (folder / "pdns.conf").write_text(CONFIGURATION.format(
            folder=folder, host=HOST, port=self.port, web=web, key=KEY))
        self.process = Process([program("pdns_server"), f"--config-dir={folder}"], folder / "log",
                               lambda: answers_tcp(web) and answers_tcp(self.port))
        for zone, lines in zones.items():
            self.api("POST", "/zones", {"name": f"{zone}.", "kind": "Native", "nameservers": [], "rrsets": [
                {"name": f"{zone}." if label == "@" else f"{label}.{zone}.", "type": kind, "ttl": ttl,
                 "records": [{"content": value, "disabled": False} for value in values]}
                for label, ttl, kind, values in lines]})

    def api(self, method: str, path: str, body: Any = None) -> None:
        answer = requests.request(method, f"{self.url}/api/v1/servers/localhost{path}", json=body,
                                  headers={"X-API-Key": KEY}, timeout=10)
        assert answer.ok, answer.text

    def put(self, zone: str, name: str, kind: str, ttl: int, values: list[str]) -> None:
        """What a person does on the host's own pages."""
        self.api("PATCH", f"/zones/{zone}.", {"rrsets": [{
            "name": name, "type": kind, "ttl": ttl, "changetype": "REPLACE",
            "records": [{"content": value, "disabled": False} for value in values]}]})

    def connection(self, secret: Any = KEY) -> dict[str, Any]:
        return {"provider": "lexicon", "api": "powerdns",
                "options": {"auth_token": secret, "pdns_server": self.url},
                "servers": {"contoso.com": [f"{HOST}:{self.port}"]}}


@contextmanager
def powerdns(folder: Path, zones: Mapping[str, Lines]) -> Iterator[PowerDns]:
    made = PowerDns(folder, zones)
    try:
        yield made
    finally:
        made.process.stop()
