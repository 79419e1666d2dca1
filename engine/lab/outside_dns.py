"""Real name servers in the place of the lab's own: what the cloud and the world's mail see is what these show.

The organisation file: `outside: {dns: {connection: …}}`, the connection as an inventory has it, with the TSIG key that
may transfer the zones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone

ANSWER_SECONDS = 5.0


class OutsideZones:
    """The zones as their servers show them, asked anew each time: what `engine.lab.dns.Zones` is for the lab's own."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.connection = dict(given["connection"])
        self._servers: Mapping[str, list[str]] = self.connection["servers"]

    def lookup_public(self, name: str, rtype: str) -> list[str]:
        """Values in zone-file form, sorted, as all authoritative servers say; [] when they differ or have none."""
        wanted = dns.name.from_text(name)
        zones = [each for each in self._servers if wanted.is_subdomain(dns.name.from_text(each))]
        shown = [self._shown(place, name, rtype) for place in self._servers.get(max(zones, key=len, default=""), ())]
        first = shown[0] if shown else None
        return first if first is not None and all(each == first for each in shown) else []

    def state(self) -> dict[str, dict[str, list[str]]]:
        """Every record set but SOA as "TTL value" texts, by zone and "label TYPE": the primary's zone, transferred."""
        return {zone: self._transferred(zone) for zone in sorted(self._servers)}

    def settled(self) -> bool:
        """Whether all servers of each zone have the same version of it."""
        return all(len({tuple(self._shown(place, zone, "SOA") or ()) for place in servers}) == 1
                   for zone, servers in self._servers.items())

    def _shown(self, place: str, name: str, rtype: str) -> list[str] | None:
        """None: it does not answer."""
        host, _, port = place.rpartition(":")
        query = dns.message.make_query(name, rtype, flags=0)
        try:
            answer = dns.query.tcp(query, host, ANSWER_SECONDS, int(port))
        except (OSError, EOFError, dns.exception.DNSException):
            return None
        return sorted(rdata.to_text() for rrset in answer.answer if rrset.rdtype == query.question[0].rdtype
                      for rdata in rrset)

    def _transferred(self, zone: str) -> dict[str, list[str]]:
        host, _, port = self._servers[zone][0].rpartition(":")
        update, origin = self.connection["update"], dns.name.from_text(zone)
        found = dns.zone.Zone(origin, relativize=False)
        query, _ = dns.xfr.make_query(
            found, keyring=dns.tsig.Key(update["key_name"], update["secret"], update["algorithm"]))
        dns.query.inbound_xfr(host, found, query, port=int(port), timeout=ANSWER_SECONDS)
        return {
            f"{name.relativize(origin)} {dns.rdatatype.to_text(rdataset.rdtype)}":
                sorted(f"{rdataset.ttl} {rdata.to_text()}" for rdata in rdataset)
            for name, rdataset in found.iterate_rdatasets() if rdataset.rdtype != dns.rdatatype.SOA}
