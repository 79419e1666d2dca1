"""Authoritative DNS: what every server of a zone says, and signed updates of record sets.

settings: `provider` (rfc2136 | by_hand), `servers` {zone: [host or host:port, the primary first]}, `resolvers`
(used to find the servers of a zone that `servers` does not name), `update` {server, key_name, algorithm, secret}.
Updates are RFC 2136 over TCP with TSIG (RFC 8945), always compare-and-set. With `by_hand` they are handed over.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
import dns.tsig
import dns.update

from engine.connections.dns_lookup import TCP_SECONDS, Asked, Reply, ask, ask_tcp
from engine.connections.endpoint import host_and_port, opened
from engine.connections.records import canonical, host, owner_name
from engine.connections.secrets import redacted
from engine.contract import Denied, Fault, Handover, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site

CONNECT_SECONDS = 10.0
#: How often a single value is added or removed anew when somebody else changes the set at the same moment.
TRIES = 3

#: zone, owner label (`@` for the apex), type
Question: TypeAlias = "tuple[str, str, str]"


@dataclass(frozen=True, slots=True)
class Shown:
    """What one server shows of a record set; no values: it says that there is none."""

    server: str
    values: tuple[str, ...] = ()
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What all authoritative servers of a zone show of one record set.

    values, sorted and canonical, are those of the slowest: the last server that differs from the primary.
    ttl is the greatest over all servers, None where nobody has the set.
    """

    servers: tuple[Shown, ...]

    @property
    def primary(self) -> Shown:
        return self.servers[0]

    @property
    def lagging(self) -> tuple[str, ...]:
        """The servers that show anything else than the primary does."""
        return tuple(each.server for each in self.servers if not self._same(each))

    @property
    def agree(self) -> bool:
        return not self.lagging

    @property
    def absent(self) -> bool:
        """Every server was asked, and every one says that there is none."""
        return not any(each.values for each in self.servers)

    @property
    def values(self) -> tuple[str, ...]:
        return next((each.values for each in reversed(self.servers) if not self._same(each)), self.primary.values)

    @property
    def ttl(self) -> int | None:
        return max((each.ttl for each in self.servers if each.ttl is not None), default=None)

    def _same(self, other: Shown) -> bool:
        return (other.values, other.ttl) == (self.primary.values, self.primary.ttl)


@dataclass(frozen=True, slots=True)
class Edit:
    """One record set as it shall be. `values` (): none. `expected`: as it must be now, or nothing is changed."""

    owner: str
    kind: str
    values: tuple[str, ...]
    ttl: int
    expected: tuple[str, ...]


@dataclass(slots=True)
class _Held:
    """A record set as the primary holds it: raw, so that what is kept is written back as it was."""

    ttl: int | None = None
    rdatas: dict[str, dns.rdata.Rdata] = field(default_factory=dict)
    alias: bool = False  # a CNAME stands at the owner, whatever was asked


class Dns:
    """The client. Thread-safe. Every method raises Fault."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._site = site
        self._update: Mapping[str, Any] = settings.get("update") or {}
        self._named = {host(zone): tuple(servers) for zone, servers in (settings.get("servers") or {}).items()}
        self._resolvers = tuple(settings.get("resolvers") or ())
        self._found: dict[str, tuple[str, ...]] = {}
        self.by_hand = settings.get("provider", "by_hand") == "by_hand"

    def close(self) -> None:
        """Nothing stays open between calls."""

    # -------------------------------------------------------------------------------------------------- reads

    def record_set(self, zone: str, owner: str, kind: str) -> Answer:
        """What every authoritative server shows. Unreachable when one of them gave no usable answer: a timeout,
        SERVFAIL, REFUSED or a server that is not responsible leaves it unknown, and never absent."""
        found = self.record_sets([(zone, owner, kind)])[zone, owner, kind]
        if isinstance(found, Fault):
            raise found
        return found

    def record_sets(self, questions: Iterable[Question]) -> Mapping[Question, Answer | Fault]:
        """The same for many at once; each has its answer or its fault. Shared until something is written."""
        known: dict[Question, Answer] = self._site.listing(self._name, "record sets", dict)
        asked = list(dict.fromkeys(questions))
        found: dict[Question, Answer | Fault] = {}
        lookups: list[tuple[Question, str, Asked]] = []
        for question in asked:
            if question in known:
                found[question] = known[question]
                continue
            zone, owner, kind = question
            try:
                name, number = dns.name.from_text(owner_name(owner, zone)), dns.rdatatype.from_text(kind)
                lookups += [(question, server, Asked(*self._place(server), name, number))
                            for server in self._servers(zone)]
            except Fault as fault:
                found[question] = fault
        lookups = [each for each in lookups if each[0] not in found]
        shown: dict[Question, list[Shown]] = {}
        for (question, server, wire), reply in zip(lookups, ask([each[2] for each in lookups]), strict=True):
            try:
                shown.setdefault(question, []).append(self._judge(reply, server, wire, authoritative=True))
            except Fault as fault:
                found[question] = fault
        for question, servers in shown.items():
            if question not in found:
                found[question] = known[question] = Answer(tuple(servers))
        return found

    def _judge(self, reply: Reply, server: str, asked: Asked, *, authoritative: bool) -> Shown:
        held = self._held(reply, server, asked, authoritative=authoritative)
        return Shown(server, tuple(sorted(held.rdatas)), held.ttl)

    def _held(self, reply: Reply, server: str, asked: Asked, *, authoritative: bool) -> _Held:
        name = asked.name.to_text(omit_final_dot=True)
        what = f"{name} {dns.rdatatype.to_text(asked.kind)}"
        if isinstance(reply, str):
            raise Unreachable(self._name, f"{server}: {reply} to {what}")
        code = dns.rcode.to_text(reply.rcode())
        if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise Unreachable(self._name, f"{server} answered {code} to {what}", code=code)
        if authoritative and not reply.flags & dns.flags.AA:
            raise Unreachable(self._name, f"{server} is not responsible for {what} (lame)", code="LAME",
                              remedy="correct dns.servers in the inventory, or the delegation of the zone")
        held = _Held()
        for rrset in reply.answer:
            if rrset.name == asked.name and rrset.rdtype == asked.kind:
                held.ttl = rrset.ttl
                held.rdatas = {_text(rdata): rdata for rdata in rrset}
            held.alias |= rrset.name == asked.name and rrset.rdtype == dns.rdatatype.CNAME
        return held

    # ------------------------------------------------------------------------------------------------ servers

    def _servers(self, zone: str) -> tuple[str, ...]:
        """Servers of a zone, the primary first: as the inventory says, else by its NS records."""
        apex = host(zone)
        servers = self._named.get(apex) or self._found.get(apex)
        if servers is None:
            servers = self._found[apex] = self._delegated(apex)
        first = self._update.get("server")
        return tuple(sorted(servers, key=lambda each: each != first)) if first in servers else servers

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
        """From the first resolver that answers. Raises the last one's Unreachable."""
        if not self._resolvers:
            try:
                self._resolvers = tuple(str(each) for each in dns.resolver.Resolver().nameservers)
            except dns.exception.DNSException:
                raise Unreachable(self._name, "this machine names no resolver", remedy="give dns.resolvers") from None
        fault: Unreachable | None = None
        for resolver in self._resolvers:
            asked = Asked(*self._place(resolver), name, kind, recursive=True)
            try:
                return self._judge(ask([asked])[0], resolver, asked, authoritative=False).values
            except Unreachable as unreachable:
                fault = unreachable
        assert fault is not None
        raise fault

    def _place(self, server: str) -> tuple[str, int]:
        """IP address and port; a host name is looked up by the machine, for it names the server, not the zone."""
        name, port = host_and_port(server, 53)
        try:
            return str(socket.getaddrinfo(name, port, type=socket.SOCK_DGRAM)[0][4][0]), port
        except OSError:
            raise Unreachable(self._name, f"the name server {server} has no address") from None

    # ------------------------------------------------------------------------------------------------- writes

    def replace(self, zone: str, owner: str, kind: str, values: Sequence[str], ttl: int,
                expected: Sequence[str]) -> Handover | None:
        """Make the record set exactly these values, provided that the primary holds `expected` now."""
        return self.update(zone, [Edit(owner, kind, tuple(values), ttl, tuple(expected))])

    def delete(self, zone: str, owner: str, kind: str, expected: Sequence[str]) -> Handover | None:
        """Take the whole record set away, provided that the primary holds `expected` now."""
        return self.update(zone, [Edit(owner, kind, (), 0, tuple(expected))])

    def add_values(self, zone: str, owner: str, kind: str, values: Sequence[str], ttl: int) -> Handover | None:
        """Single values beside whatever stands there, at the set's own TTL; `ttl` where there is no set yet."""
        return self._single(zone, owner, kind, lambda held: (*held, *(each for each in values if each not in held)),
                            ttl)

    def remove_values(self, zone: str, owner: str, kind: str, values: Sequence[str]) -> Handover | None:
        """Take single values away and leave the others as they are."""
        return self._single(zone, owner, kind, lambda held: tuple(each for each in held if each not in values), 0)

    def _single(self, zone: str, owner: str, kind: str, after: Any, ttl: int) -> Handover | None:
        for left in reversed(range(TRIES)):
            held = self._now(zone, owner, kind)
            before = tuple(held.rdatas)
            then: tuple[str, ...] = after(before)
            if then == before:
                return None
            if self.by_hand:
                gone = tuple(each for each in before if each not in then)
                return self._handover(zone, [Edit(owner, kind, tuple(each for each in then if each not in before),
                                                  held.ttl or ttl, gone)])
            try:
                return self.update(zone, [Edit(owner, kind, then, held.ttl or ttl, before)])
            except Rejected as fault:
                if fault.code != "NXRRSET" or not left:
                    raise
        raise AssertionError("unreachable")

    def update(self, zone: str, edits: Sequence[Edit]) -> Handover | None:
        """All edits of one zone in one signed message: all of them or none.

        Handover where the zone is kept by hand. Raises Rejected (code NXRRSET) when somebody has changed one of the
        record sets meanwhile, Denied naming the key, InDoubt when the answer got lost after sending. Values that
        are kept are written back as they were found. An accepted update may yet have no effect (RFC 2136, section
        3.4.2.2): read afterwards.
        """
        if self.by_hand:
            return self._handover(zone, edits)
        origin = dns.name.from_text(host(zone))
        message = dns.update.UpdateMessage(origin, keyring=self._key())
        helds = [self._now(zone, edit.owner, edit.kind) for edit in edits]
        for edit, held in zip(edits, helds, strict=True):
            self._require(zone, edit, held, edits, message)
        for edit, held in zip(edits, helds, strict=True):
            owner = dns.name.from_text(owner_name(edit.owner, zone))
            for value in edit.values:
                message.add(owner, edit.ttl, held.rdatas.get(value) or _rdata(edit.kind, value))
        self._send(zone, message)
        return None

    def _require(self, zone: str, edit: Edit, held: _Held, edits: Sequence[Edit],
                 message: dns.update.UpdateMessage) -> None:
        """Prerequisites of one edit (RFC 2136, section 2.4), and the removal of what stands there."""
        name = owner_name(edit.owner, zone)
        if set(held.rdatas) != set(edit.expected):
            raise Rejected(self._name, f"{name} {edit.kind} was changed meanwhile: it is now "
                                       f"{', '.join(held.rdatas) or 'not there'}",
                           code="NXRRSET", remedy="plan again and look at what it has become")
        beside = [each for each in edits if each.owner == edit.owner and each is not edit]
        if edit.kind != "CNAME" and edit.values and held.alias and not any(each.kind == "CNAME" for each in beside):
            raise Rejected(self._name, f"a CNAME stands at {name}, so nothing else can",
                           remedy="take the CNAME away first (RFC 1034, section 3.6.2)")
        owner, kind = dns.name.from_text(name), dns.rdatatype.from_text(edit.kind)
        if held.rdatas:
            message.present(owner, *held.rdatas.values())
            message.delete(owner, kind)
        elif edit.kind == "CNAME" and not beside:
            message.absent(owner)  # else a server passes over a CNAME beside other data in silence
        else:
            message.absent(owner, kind)

    def _now(self, zone: str, owner: str, kind: str) -> _Held:
        """The set as the primary holds it this moment, over TCP and past every listing."""
        server = str(self._update.get("server") or self._servers(zone)[0])
        asked = Asked(*self._place(server), dns.name.from_text(owner_name(owner, zone)), dns.rdatatype.from_text(kind))
        return self._held(ask_tcp(asked), server, asked, authoritative=True)

    def _key(self) -> dns.tsig.Key:
        name, secret = str(self._update.get("key_name") or ""), opened(self._update.get("secret"), self._site.world)
        algorithm = dns.name.from_text(str(self._update.get("algorithm") or "hmac-sha256"))
        if not name or not secret or not self._update.get("server"):
            raise Denied(self._name, "updates need dns.update with server, key_name and secret",
                         remedy="give them, or say dns: {provider: by_hand}")
        try:
            return dns.tsig.Key(dns.name.from_text(name), secret, algorithm)
        except ValueError:  # its text would show the secret
            raise Denied(self._name, f"the secret of key {name} is not base64") from None

    def _send(self, zone: str, message: dns.update.UpdateMessage) -> None:
        server, key = str(self._update["server"]), str(self._update["key_name"])
        where, port = self._place(server)
        try:
            line = socket.create_connection((where, port), CONNECT_SECONDS)
        except OSError:
            raise Unreachable(self._name, f"no connection to {server} for an update of {zone}") from None
        with line:
            line.setblocking(False)
            try:
                answer = dns.query.tcp(message, where, TCP_SECONDS, port, sock=line)
            except dns.tsig.PeerBadTime:
                raise Denied(self._name, f"{server} says that the clocks differ (key {key})", code="BADTIME",
                             remedy="set the clock of this machine or of the server") from None
            except (dns.tsig.PeerError, dns.message.UnknownTSIGKey) as error:
                raise Denied(self._name, f"{server} does not accept the key {key}", code=_tsig_code(error),
                             remedy=f"check name, algorithm and secret of the key {key}") from None
            except (OSError, EOFError, dns.exception.DNSException) as error:
                raise InDoubt(self._name, f"{server} did not answer an update of {zone} ({type(error).__name__})") \
                    from None
        self._judge_update(zone, server, key, answer)

    def _judge_update(self, zone: str, server: str, key: str, answer: dns.message.Message) -> None:
        code, said = answer.rcode(), dns.rcode.to_text(answer.rcode())
        if code == dns.rcode.NOERROR:
            if not answer.had_tsig:
                raise InDoubt(self._name, f"{server} answered an update of {zone} without signature", code="NOTSIG")
            return
        text = redacted(f"{server} refused the update of {zone}: {said}")
        if code in (dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN):
            raise Rejected(self._name, f"{text}: a record set was changed meanwhile", code="NXRRSET",
                           remedy="plan again and look at what it has become")
        if code == dns.rcode.YXDOMAIN:
            raise Rejected(self._name, f"{text}: other records stand at the name of the CNAME", code=said,
                           remedy="take them away first (RFC 1034, section 3.6.2)")
        if code in (dns.rcode.REFUSED, dns.rcode.NOTAUTH):
            raise Denied(self._name, text, code=said, remedy=f"allow the key {key} to update {zone}")
        if code == dns.rcode.SERVFAIL:
            raise InDoubt(self._name, text, code=said)
        raise Rejected(self._name, text, code=said)

    def _handover(self, zone: str, edits: Sequence[Edit]) -> Handover:
        """Records ready to paste into a zone file or a provider's form."""
        lines = [f"; Zone {zone}"]
        for edit in edits:
            owner = owner_name(edit.owner, zone)
            gone = [value for value in edit.expected if value not in edit.values]
            lines += [f"; remove: {owner} IN {edit.kind} {_paste(edit.kind, value)}" for value in gone]
            lines += [f"{owner} {edit.ttl} IN {edit.kind} {_paste(edit.kind, value)}" for value in edit.values]
        return Handover("dns", f"Change DNS records of {zone}", "\n".join(lines) + "\n")


def _text(rdata: dns.rdata.Rdata) -> str:
    strings: Any = getattr(rdata, "strings", None)
    if strings is not None:
        return b"".join(strings).decode("utf-8", "backslashreplace")
    kind = dns.rdatatype.to_text(rdata.rdtype)
    try:
        return canonical(kind, rdata.to_text())
    except ValueError:
        return rdata.to_text().lower()  # a foreign record of an odd form is shown as it is


def _rdata(kind: str, value: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), _paste(kind, value),
                               dns.name.root, relativize=False)


def _paste(kind: str, value: str) -> str:
    """Zone-file form; TXT in quoted pieces of at most 255 bytes (RFC 1035, section 3.3)."""
    if kind != "TXT":
        return value
    data = value.encode()
    pieces = [data[start:start + 255] for start in range(0, len(data), 255)] or [b""]
    return " ".join('"' + "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03}" for byte in piece) + '"'
        for piece in pieces)


def _tsig_code(error: Exception) -> str:
    return type(error).__name__.removeprefix("Peer").upper().replace("SIGNATURE", "SIG")
