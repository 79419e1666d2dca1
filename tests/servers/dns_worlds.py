"""The same zones in two worlds: the lab's DNS and BIND 9. What a case says holds in both, or docs/lab.md says why not.

In both the secondary shows a change only once `catch_up` is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from engine.connections import Site
from engine.connections.dns import Dns
from engine.lab.organisation import Organisation
from engine.world import StillClock, World
from tests.lab.source_stand import Stand, description, stand
from tests.servers.bind import INSIDE, Bind, bind

#: Less than an absence may be cached (SOA minimum).
LAG_SECONDS = 60
#: label, TTL, type, values
Lines = list[tuple[str, int, str, list[str]]]


class DnsWorld(Protocol):
    """Two authoritative servers, a resolver, and what is seen inside: `inside` is a server and whence to ask it."""

    connection: dict[str, Any]
    inside: tuple[str, str | None]

    def catch_up(self) -> None: ...


class LabWorld:
    def __init__(self, lab: Stand) -> None:
        self.lab = lab
        self.connection: dict[str, Any] = lab.connections["dns"]
        self.inside: tuple[str, str | None] = self.connection["internal"][0], None
        lab.organisation.dns.lag_seconds = LAG_SECONDS

    def catch_up(self) -> None:
        self.lab.clock.advance(LAG_SECONDS + 1)


class BindWorld:
    def __init__(self, server: Bind) -> None:
        self.server = server
        self.connection: dict[str, Any] = server.connection()
        self.inside: tuple[str, str | None] = server.place("primary"), INSIDE

    def catch_up(self) -> None:
        self.server.catch_up()


@contextmanager
def world(name: str, folder: Path) -> Iterator[DnsWorld]:
    """`name`: lab or bind."""
    if name == "lab":
        with stand(folder) as made:
            yield LabWorld(made)
        return
    with bind(folder, zones(), internal=zones(inside=True)) as server:
        yield BindWorld(server)


def client(each: DnsWorld, **changes: Any) -> Dns:
    """The client of a new run. `changes` are other settings of the connection."""
    return Site({"dns": {**each.connection, **changes}}, {"migration": "test"}, World()).dns


def zones(given: dict[str, Any] | None = None, *, inside: bool = False) -> dict[str, Lines]:
    """The zones of the lab's organisation, as at its start, for a server of another make."""
    organisation = Organisation.from_rows(given or description(), 1, StillClock(datetime(2026, 3, 1, tzinfo=UTC)))
    found: dict[str, Lines] = {}
    state = organisation.dns.state()
    for zone in organisation.dns.names():  # the state also tells what is seen inside
        sets = state[zone]
        first = next(iter(organisation.domains))
        lines: Lines = [("@", 3600, "SOA", [f"ns1.{first}. hostmaster.{first}. 1 7200 900 1209600 300"])]
        for owner, values in sets.items():
            label, kind = owner.split(" ")
            ttl, data = int(values[0].split(" ", 1)[0]), [value.split(" ", 1)[1] for value in values]
            if inside and kind == "A":
                data = [f"10.0.0.{value.rpartition('.')[2]}" for value in data]
            lines.append((label, ttl, kind, data))
        found[zone] = lines
    return found
