"""Which servers answer for a zone: as the inventory says, else as the zone's NS records do.

settings: `servers` {zone: [host or host:port, the primary first]}, `resolvers` (asked for the servers of a zone that
`servers` does not name), `update.server` (stands first).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver

from engine.connections.dns_answers import Held, held
from engine.connections.dns_lookup import Asked, ask, ask_tcp
from engine.connections.endpoint import host_and_port
from engine.connections.records import host, owner_name
from engine.contract import Unreachable


class Servers:
    """Every method raises Unreachable."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self._name = name
        self._first: str | None = (settings.get("update") or {}).get("server")
        self._named = {host(zone): tuple(servers) for zone, servers in (settings.get("servers") or {}).items()}
        self._resolvers = tuple(settings.get("resolvers") or ())
        self._found: dict[str, tuple[str, ...]] = {}

    def of(self, zone: str) -> tuple[str, ...]:
        """Servers of a zone, the primary first: as the inventory says, else by its NS records."""
        apex = host(zone)
        servers = self._named.get(apex) or self._found.get(apex)
        if servers is None:
            servers = self._found[apex] = self._delegated(apex)
        first = self._first
        return tuple(sorted(servers, key=lambda each: each != first)) if first in servers else servers

    def primary_now(self, zone: str, owner: str, kind: str) -> Held:
        """A record set as the primary holds it this moment, over TCP and past every listing."""
        server = str(self._first or self.of(zone)[0])
        asked = Asked(*self.place(server), dns.name.from_text(owner_name(owner, zone)), dns.rdatatype.from_text(kind))
        return held(self._name, ask_tcp(asked), server, asked, authoritative=True)

    def public_addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a host as the resolvers outside know them, sorted; () when it has none."""
        found = set()
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            reply, _ = self._recursive(dns.name.from_text(name), kind)
            # Behind aliases too: their end stands in the same answer.
            found |= {rdata.to_text() for rrset in reply.answer if rrset.rdtype == kind for rdata in rrset}
        return tuple(sorted(found))

    def resolved(self, zone: str, owner: str, kind: str) -> dict[str, tuple[str, ...]]:
        """What each of the inventory's resolvers shows, sorted; those that do not answer are left out."""
        name, number = dns.name.from_text(owner_name(owner, zone)), dns.rdatatype.from_text(kind)
        found = {}
        for resolver in self._resolvers:
            asked = Asked(*self.place(resolver), name, number, recursive=True)
            reply = ask([asked])[0]
            if not isinstance(reply, str):
                found[resolver] = tuple(sorted(
                    held(self._name, reply, resolver, asked, authoritative=False).rdatas))
        return found

    def _delegated(self, apex: str) -> tuple[str, ...]:
        names = sorted(self._resolve(dns.name.from_text(apex), dns.rdatatype.NS))
        if not names:
            raise Unreachable(self._name, f"no name server of {apex} could be found", remedy=(
                f"name them: dns: {{servers: {{{apex.rstrip('.')}: […]}}}}"))
        found = []
        for each in names:
            server = dns.name.from_text(each)
            addresses = self._resolve(server, dns.rdatatype.A) or self._resolve(server, dns.rdatatype.AAAA)
            if not addresses:
                raise Unreachable(self._name, f"the name server {each} of {apex} has no address")
            found.append(sorted(addresses)[0])
        return tuple(found)

    def _resolve(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> tuple[str, ...]:
        """Values of exactly this name, sorted."""
        return tuple(sorted(self._recursive(name, kind)[1].rdatas))

    def _recursive(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> tuple[dns.message.Message, Held]:
        """From the first resolver that answers. Raises the last one's Unreachable."""
        if not self._resolvers:
            try:
                self._resolvers = tuple(str(each) for each in dns.resolver.Resolver().nameservers)
            except dns.exception.DNSException:
                raise Unreachable(self._name, "this machine names no resolver", remedy="give dns.resolvers") from None
        fault: Unreachable | None = None
        for resolver in self._resolvers:
            asked = Asked(*self.place(resolver), name, kind, recursive=True)
            reply = ask([asked])[0]
            try:
                there = held(self._name, reply, resolver, asked, authoritative=False)
            except Unreachable as unreachable:
                fault = unreachable
                continue
            assert not isinstance(reply, str)
            return reply, there
        assert fault is not None
        raise fault

    def place(self, server: str) -> tuple[str, int]:
        """IP address and port; a host name is looked up by the machine, for it names the server, not the zone."""
        name, port = host_and_port(server, 53)
        try:
            return str(socket.getaddrinfo(name, port, type=socket.SOCK_DGRAM)[0][4][0]), port
        except OSError:
            raise Unreachable(self._name, f"the name server {server} has no address") from None
