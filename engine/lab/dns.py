"""The source's DNS: two authoritative servers, a caching public resolver, an internal view, signed updates.

Messages in, messages out (`Zones.answer`), no sockets. Updates follow RFC 2136 with TSIG (RFC 8945) and go to the
primary, ns1; the secondary, ns2, shows them `lag_seconds` later on the lab's clock.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TSIG
import dns.rrset
import dns.tsig
import dns.update

View = Literal["ns1", "ns2", "resolver", "internal"]
Owner = tuple[dns.name.Name, dns.rdatatype.RdataType]
Records = dict[Owner, dns.rdataset.Rdataset]
Effect = Callable[[str, str], None]

SOA, NS, CNAME = dns.rdatatype.SOA, dns.rdatatype.NS, dns.rdatatype.CNAME
A, AAAA, MX = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.MX
ANY, NONE = dns.rdataclass.ANY, dns.rdataclass.NONE

#: Largest answer over UDP, whatever the asker offers (DNS Flag Day 2020); without EDNS 512 (RFC 1035, 4.2.1).
UDP_BYTES_MAX = 1232


class Zone:
    """One zone on its primary, and what the secondary still shows of it."""

    def __init__(self, origin: dns.name.Name, records: Records) -> None:
        self.origin = origin
        self.versions: list[tuple[datetime | None, Records]] = [(None, records)]

    @property
    def records(self) -> Records:
        return self.versions[-1][1]

    def seen(self, now: datetime, lag: timedelta) -> Records:
        """What a secondary shows that learns of each version `lag` after it was made."""
        while len(self.versions) > 1 and (made := self.versions[1][0]) is not None and made + lag <= now:
            del self.versions[0]
        return self.versions[0][1]


class Zones:
    """All zones of the source and the four servers that answer for them.

    key_name, secret: the TSIG key (hmac-sha256; the secret in base64). `effect` is told each record set an update
    really changed: ("dns/<zone>/<label>/<TYPE>", "create" | "replace" | "delete").
    """

    def __init__(self, now: Callable[[], datetime], key_name: str, secret: str, effect: Effect) -> None:
        self.key_name = key_name
        self.secret = secret
        self.lag_seconds = 0.0
        self._now = now
        self._effect = effect
        self._key = dns.tsig.Key(dns.name.from_text(key_name), secret, dns.tsig.HMAC_SHA256)
        self._zones: dict[dns.name.Name, Zone] = {}
        self._internal: dict[dns.name.Name, Zone] = {}
        self._cache: dict[Owner, tuple[datetime, dns.rcode.Rcode, list[dns.rrset.RRset], dns.rrset.RRset]] = {}

    def add(self, origin: str, lines: Iterable[tuple[str, int, str, Iterable[str]]]) -> None:
        """A zone as at the start: (label, TTL in seconds, type, values in zone-file form) per record set.

        SOA and NS of the apex must be among them. The internal view begins with the same records and private
        addresses, and is changed by itself: what a look-up inside shows proves nothing about the public zone.
        """
        name = dns.name.from_text(origin)
        records: Records = {}
        for label, ttl, kind, values in lines:
            rdatas = [dns.rdata.from_text("IN", kind, value, origin=name, relativize=False) for value in values]
            owner = dns.name.from_text(label, name) if label != "@" else name
            records[owner, rdatas[0].rdtype] = dns.rdataset.from_rdata_list(ttl, rdatas)
        self._zones[name] = Zone(name, records)
        self._internal[name] = Zone(name, {owner: _private(rdataset) for owner, rdataset in records.items()})

    def names(self) -> list[str]:
        """Zone apexes, without the trailing dot, in order of making."""
        return [name.to_text(omit_final_dot=True) for name in self._zones]

    # ------------------------------------------------------------------------------------------ looking

    def lookup_public(self, name: str, rtype: str) -> list[str]:
        """Values in zone-file form, sorted, as all authoritative servers say; [] when they differ or have none."""
        owner = (dns.name.from_text(name), dns.rdatatype.from_text(rtype))
        zone = self._zone_of(owner[0])
        if zone is None:
            return []
        primary, secondary = zone.records.get(owner), self._seen(zone).get(owner)
        if primary is None or secondary is None or primary != secondary:
            return []
        return sorted(rdata.to_text() for rdata in primary)

    def state(self) -> dict[str, dict[str, list[str]]]:
        """Every record set but SOA as "TTL value" texts, by zone and "label TYPE": the primary's view, and inside."""
        return {f"{zone.origin.to_text(omit_final_dot=True)}{suffix}": _texts(zone)
                for zones, suffix in ((self._zones, ""), (self._internal, " inside")) for zone in zones.values()}

    # ---------------------------------------------------------------------------------------- answering

    def answer(self, wire: bytes, server: View, *, udp: bool = False) -> bytes:
        """The answer message to a query or update; b"" where a server would stay silent (not a DNS request).

        Over UDP an answer that does not fit is cut and flagged TC, so that the asker comes back over TCP.
        """
        try:
            message = dns.message.from_wire(wire, keyring={self._key.name: self._key})
        except (dns.message.UnknownTSIGKey, dns.tsig.BadSignature, dns.tsig.BadTime, dns.tsig.BadAlgorithm) as error:
            return _unverified(wire, error)
        except (dns.exception.DNSException, struct.error):
            return wire[:2] + struct.pack("!HHHHH", 0x8001, 0, 0, 0, 0) if len(wire) >= 12 else b""
        if message.flags & dns.flags.QR:
            return b""
        response = dns.message.make_response(message, our_payload=UDP_BYTES_MAX,
                                             recursion_available=server in ("resolver", "internal"))
        if message.opcode() == dns.opcode.UPDATE:
            assert isinstance(message, dns.update.UpdateMessage)
            response.set_rcode(self._update(message, server))
        elif message.opcode() == dns.opcode.QUERY and message.question:
            self._query(message.question[0], server, response)
        else:
            response.set_rcode(dns.rcode.NOTIMP)
        limit = max(512, min(message.payload, UDP_BYTES_MAX)) if udp else 65_535
        return response.to_wire(max_size=limit, prefer_truncation=True)

    def _query(self, question: dns.rrset.RRset, server: View, response: dns.message.Message) -> None:
        zone = self._zone_of(question.name)
        if zone is None:
            response.set_rcode(dns.rcode.NXDOMAIN if server in ("resolver", "internal") else dns.rcode.REFUSED)
            return
        if server == "resolver":
            rcode, answer, authority = self._resolved(zone, (question.name, question.rdtype))
        else:
            response.flags |= dns.flags.AA  # inside, the company's own servers keep a zone of the same name
            rcode, answer = self._find(question.name, question.rdtype, server)
            authority = _rrset(zone.origin, self._shown(zone, server)[zone.origin, SOA])
        response.set_rcode(rcode)
        response.answer.extend(answer)
        if not answer:
            response.authority.append(authority)  # RFC 2308, section 3: how long the absence may be kept

    def _resolved(self, zone: Zone, owner: Owner) -> tuple[dns.rcode.Rcode, list[dns.rrset.RRset], dns.rrset.RRset]:
        """From the cache until its time is over, absence included (RFC 2308); else as the secondary says."""
        now = self._now()
        kept = self._cache.get(owner)
        if kept is None or kept[0] <= now:
            rcode, answer = self._find(*owner, "ns2")
            soa = _rrset(zone.origin, self._seen(zone)[zone.origin, SOA])
            assert isinstance(soa[0], dns.rdtypes.ANY.SOA.SOA)
            ttl = min((each.ttl for each in answer), default=min(soa.ttl, soa[0].minimum))
            kept = (now + timedelta(seconds=ttl), rcode, answer, soa)
            self._cache[owner] = kept
        left = max(0, int((kept[0] - now).total_seconds()))
        answer = [dns.rrset.from_rdata_list(each.name, min(each.ttl, left), list(each)) for each in kept[2]]
        return kept[1], answer, kept[3]

    def _find(self, name: dns.name.Name, kind: dns.rdatatype.RdataType,
              server: View) -> tuple[dns.rcode.Rcode, list[dns.rrset.RRset]]:
        """The record set, behind the aliases that lead to it as far as this server's zones reach (RFC 1034, 4.3.2)."""
        answer: list[dns.rrset.RRset] = []
        for _ in range(8):  # bounded, so that a loop of aliases ends
            zone = self._zone_of(name)
            if zone is None:
                return dns.rcode.NOERROR, answer
            records = self._shown(zone, server)
            source = _source(records, name, zone.origin)
            if source is None:
                return (dns.rcode.NOERROR if answer else dns.rcode.NXDOMAIN), answer
            if (source, kind) in records:
                answer.append(_rrset(name, records[source, kind]))
                return dns.rcode.NOERROR, answer
            if (source, CNAME) not in records:
                return dns.rcode.NOERROR, answer
            answer.append(_rrset(name, records[source, CNAME]))
            alias: Any = records[source, CNAME][0]
            name = alias.target
        return dns.rcode.NOERROR, answer

    def _shown(self, zone: Zone, server: View) -> Records:
        if server == "internal":
            return self._internal[zone.origin].records
        return zone.records if server == "ns1" else self._seen(zone)

    # ----------------------------------------------------------------------------------------- updating

    def _update(self, message: dns.update.UpdateMessage, server: View) -> dns.rcode.Rcode:
        """RFC 2136, section 3: zone, prerequisites, then all updates together or none."""
        if not message.had_tsig or server not in ("ns1", "internal"):
            return dns.rcode.REFUSED
        zones = self._zones if server == "ns1" else self._internal
        zone = zones.get(message.zone[0].name) if message.zone else None
        if zone is None:
            return dns.rcode.NOTAUTH
        sections = (message.prerequisite, message.update)
        if any(not rrset.name.is_subdomain(zone.origin) for section in sections for rrset in section):
            return dns.rcode.NOTZONE
        verdict = _prerequisites(zone.records, message.prerequisite)
        if verdict != dns.rcode.NOERROR:
            return verdict
        after = dict(zone.records)
        for rrset in message.update:
            _apply(after, rrset, zone.origin)
        if _homeless(zone.records, after, zone.origin):
            return dns.rcode.REFUSED
        self._publish(zone, after, "dns" if server == "ns1" else "dns inside")
        return dns.rcode.NOERROR

    def _publish(self, zone: Zone, after: Records, where: str) -> None:
        before = zone.records
        changed = [owner for owner in {**before, **after} if owner[1] != SOA and not _same(before, after, owner)]
        if not changed:
            return
        soa = after[zone.origin, SOA]
        assert isinstance(soa[0], dns.rdtypes.ANY.SOA.SOA)
        raised = soa[0].replace(serial=(soa[0].serial + 1) % 2**32)
        after[zone.origin, SOA] = dns.rdataset.from_rdata_list(soa.ttl, [raised])
        self._seen(zone)  # let go of versions that all servers have left behind
        zone.versions.append((self._now(), after))
        for owner in changed:
            verb = "delete" if owner not in after else "replace" if owner in before else "create"
            origin = zone.origin.to_text(omit_final_dot=True)
            self._effect(f"{where}/{origin}/{_label(owner[0], zone)}/{dns.rdatatype.to_text(owner[1])}", verb)

    def _seen(self, zone: Zone) -> Records:
        return zone.seen(self._now(), timedelta(seconds=self.lag_seconds))

    def _zone_of(self, name: dns.name.Name) -> Zone | None:
        while True:
            if name in self._zones:
                return self._zones[name]
            if name == dns.name.root:
                return None
            name = name.parent()


def _source(records: Records, name: dns.name.Name, origin: dns.name.Name) -> dns.name.Name | None:
    """Whose records answer for a name: its own, or those of the wildcard beside it (RFC 4592); None: nobody's.

    An empty non-terminal exists (RFC 8020), and no wildcard covers a name that exists.
    """
    if any(owner.is_subdomain(name) for owner, _ in records):
        return name
    encloser = name.parent()
    while encloser != origin and not any(owner.is_subdomain(encloser) for owner, _ in records):
        encloser = encloser.parent()
    wildcard = dns.name.Name((b"*", *encloser.labels))
    return wildcard if any(owner == wildcard for owner, _ in records) else None


def _homeless(before: Records, after: Records, origin: dns.name.Name) -> bool:
    """Whether a mail host of the zone would be named that has no address there: BIND refuses that (check-integrity)."""
    for owner, rdataset in after.items():
        if owner[1] != MX or rdataset == before.get(owner):
            continue
        for rdata in rdataset:
            host: Any = rdata.exchange
            source = _source(after, host, origin) if host.is_subdomain(origin) else None
            if host.is_subdomain(origin) and (source is None or not {(source, A), (source, AAAA)} & after.keys()):
                return True
    return False


def _prerequisites(records: Records, section: Iterable[dns.rrset.RRset]) -> dns.rcode.Rcode:
    """RFC 2136, section 3.2, with its response codes."""
    wanted: dict[Owner, set[dns.rdata.Rdata]] = {}
    for rrset in section:
        named = any(owner == rrset.name for owner, _ in records)
        held = (rrset.name, rrset.rdtype) in records
        if rrset.deleting == ANY and rrset.rdtype == dns.rdatatype.ANY and not named:
            return dns.rcode.NXDOMAIN
        if rrset.deleting == NONE and rrset.rdtype == dns.rdatatype.ANY and named:
            return dns.rcode.YXDOMAIN
        if rrset.deleting == ANY and rrset.rdtype != dns.rdatatype.ANY and not held:
            return dns.rcode.NXRRSET
        if rrset.deleting == NONE and rrset.rdtype != dns.rdatatype.ANY and held:
            return dns.rcode.YXRRSET
        if rrset.deleting is None:
            wanted.setdefault((rrset.name, rrset.rdtype), set()).update(rrset)
    for owner, values in wanted.items():
        if set(records.get(owner, ())) != values:
            return dns.rcode.NXRRSET
    return dns.rcode.NOERROR


def _apply(records: Records, rrset: dns.rrset.RRset, origin: dns.name.Name) -> None:
    """One record set of the update section (RFC 2136, section 3.4.2)."""
    name, kind = rrset.name, rrset.rdtype
    if rrset.deleting == ANY:
        kept = (SOA, NS) if name == origin else ()
        for owner in [owner for owner in records if owner[0] == name and owner[1] not in kept]:
            if kind in (dns.rdatatype.ANY, owner[1]):
                del records[owner]
        return
    found = records.get((name, kind))
    if rrset.deleting == NONE:
        if found is None or kind == SOA:
            return
        left = [rdata for rdata in found if rdata not in rrset]
        if left:
            records[name, kind] = dns.rdataset.from_rdata_list(found.ttl, left)
        elif not (kind == NS and name == origin):
            del records[name, kind]
        return
    others = any(owner == name and (other == CNAME) != (kind == CNAME) for owner, other in records)
    if others or kind == SOA:
        return  # section 3.4.2.2: a CNAME beside other data is ignored in silence – so look afterwards
    old = [rdata for rdata in found or () if rdata not in rrset] if kind != CNAME else []
    records[name, kind] = dns.rdataset.from_rdata_list(rrset.ttl, [*old, *rrset])


def _texts(zone: Zone) -> dict[str, list[str]]:
    return {f"{_label(name, zone)} {dns.rdatatype.to_text(kind)}":
            sorted(f"{rdataset.ttl} {rdata.to_text()}" for rdata in rdataset)
            for (name, kind), rdataset in sorted(zone.records.items()) if kind != SOA}


def _same(before: Records, after: Records, owner: Owner) -> bool:
    old, new = before.get(owner), after.get(owner)
    return old is not None and new is not None and old == new and old.ttl == new.ttl


def _rrset(name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))


def _private(rdataset: dns.rdataset.Rdataset) -> dns.rdataset.Rdataset:
    if rdataset.rdtype != dns.rdatatype.A:
        return rdataset
    last = [rdata.to_text().rpartition(".")[2] for rdata in rdataset]
    return dns.rdataset.from_rdata_list(rdataset.ttl, [dns.rdata.from_text("IN", "A", f"10.0.0.{n}") for n in last])


def _label(name: dns.name.Name, zone: Zone) -> str:
    return name.relativize(zone.origin).to_text()


def _unverified(wire: bytes, error: Exception) -> bytes:
    """NOTAUTH with the TSIG error and no signature (RFC 8945, section 5.2): there is no key to sign it with."""
    message = dns.message.from_wire(wire, keyring=False)
    code = (dns.rcode.BADKEY if isinstance(error, dns.message.UnknownTSIGKey | dns.tsig.BadAlgorithm)
            else dns.rcode.BADTIME if isinstance(error, dns.tsig.BadTime) else dns.rcode.BADSIG)
    response = dns.message.make_response(message)
    response.set_rcode(dns.rcode.NOTAUTH)
    body = bytearray(response.to_wire())
    assert message.tsig is not None
    sent = message.tsig[0]
    rdata = dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]
        dns.rdataclass.ANY, dns.rdatatype.TSIG, sent.algorithm, sent.time_signed, sent.fudge, b"", message.id, code,
        b"").to_wire()
    assert rdata is not None
    owner = message.tsig.name.to_wire()
    assert owner is not None
    struct.pack_into("!H", body, 10, 1)
    return bytes(body) + owner + struct.pack("!HHIH", dns.rdatatype.TSIG, dns.rdataclass.ANY, 0, len(rdata)) + rdata


