"""BIND 9 on loopback: a primary that takes signed updates, a secondary that lags until it is told, a resolver.

One program, three processes, as in the world. The primary has two views: what the world sees, and what is seen inside.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode

from tests.servers.process import HOST, Process, free_port, own_copy

#: label, TTL, type, values in zone-file form
Records = Iterable[tuple[str, int, str, Iterable[str]]]

KEY = "mailmove-key"
#: A key the servers know, and that may change nothing.
POOR = "poor-key"
#: Who asks from here is inside, and sees the internal view.
INSIDE = "127.0.0.3"

#: A zone of the secondary whose primary does not know it: asked for it, it answers SERVFAIL.
UNFETCHED = "unfetched.example"

OPTIONS = """
options {{ directory "{folder}"; pid-file none; session-keyfile "{folder}/session.key";
  managed-keys-directory "{folder}"; lock-file none; listen-on port {port} {{ {host}; }}; listen-on-v6 {{ none; }};
  allow-query {{ any; }}; dnssec-validation no; empty-zones-enable no; minimal-responses yes;
  notify-delay 0; serial-query-rate 1000; {more} }};
controls {{ }};
logging {{ channel f {{ stderr; severity info; print-category yes; }}; category default {{ f; }}; }};
"""


class Bind:
    """Zones served for real. `notify`: the secondary hears of each change at once, else only by `catch_up`."""

    def __init__(self, folder: Path, zones: Mapping[str, Records], *, notify: bool = False,
                 internal: Mapping[str, Records] | None = None) -> None:
        self.zones = tuple(zones)
        self.secret = base64.b64encode(os.urandom(32)).decode()
        self._folder = folder
        self._program = own_copy("named", folder)
        self._notify = notify
        self.ports = {name: free_port() for name in ("primary", "secondary", "resolver")}
        for zone, records in zones.items():
            _write(folder / f"{zone}.zone", zone, records)
        for zone, records in (internal or {}).items():
            _write(folder / f"{zone}.inside", zone, records)
        self._inside = tuple(internal or ())
        self.primary = self._start("primary", self._primary())
        self.secondary = self._start("secondary", self._secondary())
        self.resolver = self._start("resolver", self._resolver())

    def place(self, name: str) -> str:
        """The address of "primary", "secondary" or "resolver", as an inventory names it."""
        return f"{HOST}:{self.ports[name]}"

    def connection(self) -> dict[str, Any]:
        """The inventory's `dns`."""
        servers = [self.place("primary"), self.place("secondary")]
        return {"provider": "rfc2136", "servers": {zone: servers for zone in self.zones},
                "update": {"server": servers[0], "key_name": KEY, "algorithm": "hmac-sha256", "secret": self.secret},
                "resolvers": [self.place("resolver")]}

    def catch_up(self) -> None:
        """Tells the secondary that there is something new (RFC 1996), and waits until it has it."""
        for zone in self.zones:
            notify = dns.message.make_query(zone, "SOA", flags=dns.flags.AA)
            notify.set_opcode(dns.opcode.NOTIFY)
            until = 0
            while self.serial(zone, "secondary") != self.serial(zone, "primary"):
                if until % 20 == 0:
                    dns.query.udp(notify, HOST, 5, self.ports["secondary"])
                until += 1
                assert until < 400, f"the secondary never fetched {zone}: {self.secondary.log.read_text()[-2000:]}"
                _pause()

    def serial(self, zone: str, server: str) -> int:
        answer = dns.query.udp(dns.message.make_query(zone, "SOA", flags=0), HOST, 5, self.ports[server])
        soa: Any = answer.answer[0][0]
        return int(soa.serial)

    def stop(self) -> None:
        for each in (self.primary, self.secondary, self.resolver):
            each.stop()

    # ----------------------------------------------------------------------------------------- configuration

    def _start(self, name: str, configuration: str) -> Process:
        folder = self._folder / name
        folder.mkdir()
        more = "recursion yes;" if name == "resolver" else "recursion no;"
        options = OPTIONS.format(folder=folder, host=HOST, port=self.ports[name], more=more)
        (folder / "named.conf").write_text(options + configuration)
        return Process([self._program, "-g", "-4", "-c", folder / "named.conf", "-n", "1"], folder / "log",
                       lambda: all(self._serves(zone, self.ports[name]) for zone in self.zones))

    def _primary(self) -> str:
        notify = (f"notify explicit; also-notify {{ {HOST} port {self.ports['secondary']}; }};" if self._notify else
                  "notify no;")
        public = "".join(
            f'zone "{zone}" {{ type primary; file "{self._folder}/{zone}.zone"; '
            f'journal "{self._folder}/{zone}.jnl"; {notify} update-policy {{ grant {KEY} zonesub ANY; }}; }};\n'
            for zone in self.zones)
        inside = "".join(f'zone "{zone}" {{ type primary; file "{self._folder}/{zone}.inside"; notify no; }};\n'
                         for zone in self._inside)
        return (self._key() +
                f"view inside {{ match-clients {{ {INSIDE}; }};\n{inside} }};\n"
                f"view outside {{ match-clients {{ any; }}; allow-transfer {{ key {KEY}; }};\n{public} }};\n")

    def _secondary(self) -> str:
        return self._key() + "".join(
            f'zone "{zone}" {{ type secondary; file "{zone}.copy"; notify no; '
            f"primaries {{ {HOST} port {self.ports['primary']} key {KEY}; }}; }};\n"
            for zone in (*self.zones, UNFETCHED))

    def _resolver(self) -> str:
        """Asks the secondary, and caches what it hears, absence too (RFC 2308)."""
        return "".join(f'zone "{zone}" {{ type forward; forward only; '
                       f"forwarders {{ {HOST} port {self.ports['secondary']}; }}; }};\n" for zone in self.zones)

    def _key(self) -> str:
        return "".join(f'key "{name}" {{ algorithm hmac-sha256; secret "{self.secret}"; }};\n' for name in (KEY, POOR))

    def _serves(self, zone: str, port: int) -> bool:
        query = dns.message.make_query(zone, "SOA")
        try:
            answer = dns.query.tcp(query, HOST, 5, port)  # a port where nobody listens says so at once
        except (OSError, EOFError, dns.exception.DNSException):
            return False
        return answer.rcode() == dns.rcode.NOERROR and bool(answer.answer)


@contextmanager
def bind(folder: Path, zones: Mapping[str, Records], **words: Any) -> Iterator[Bind]:
    made = Bind(folder, zones, **words)
    try:
        yield made
    finally:
        made.stop()


def _write(path: Path, zone: str, records: Records) -> None:
    lines = [f"$ORIGIN {zone}."]
    lines += [f"{label} {ttl} IN {kind} {value}" for label, ttl, kind, values in records for value in values]
    path.write_text("\n".join(lines) + "\n")


def _pause() -> None:
    time.sleep(0.02)
