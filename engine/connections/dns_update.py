"""Signed updates of a zone (RFC 2136 over TCP, TSIG of RFC 8945), always compare-and-set.

settings: `update` {server, key_name, algorithm, secret}.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from engine.connections.dns_answers import Edit, Held, changed
from engine.connections.dns_lookup import TCP_SECONDS
from engine.connections.dns_servers import Servers
from engine.connections.endpoint import opened
from engine.connections.records import host, owner_name, zone_file
from engine.connections.redaction import redacted
from engine.contract import Denied, Handover, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site

CONNECT_SECONDS = 10.0


class SignedUpdates:
    """Keeps zones by updates that the primary server takes. Every method raises Fault."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site, servers: Servers) -> None:
        self._name = name
        self._update: Mapping[str, Any] = settings.get("update") or {}
        self._site = site
        self._servers = servers

    def now(self, zone: str, owner: str, kind: str) -> Held:
        """The set as the primary holds it this moment, over TCP and past every listing."""
        return self._servers.primary_now(zone, owner, kind)

    def update(self, zone: str, edits: Sequence[Edit]) -> Handover | None:
        """All edits of one zone in one signed message: all of them or none.

        Raises Rejected (code NXRRSET) when somebody has changed one of the record sets meanwhile, Denied naming the
        key, InDoubt when the answer got lost after sending. Values that are kept are written back as they were
        found. An accepted update may yet have no effect (RFC 2136, section 3.4.2.2): read afterwards.
        """
        key = self._key()
        helds = [self.now(zone, edit.owner, edit.kind) for edit in edits]
        try:
            self._send(zone, self._message(zone, edits, helds, (), key))
        except Rejected as fault:
            covered = self._covered(zone, edits, helds) if fault.code == "NXRRSET" else set()
            if not covered:
                raise
            self._send(zone, self._message(zone, edits, helds, covered, key))
        return None

    def probe(self, zone: str) -> str:
        """Proves that the key may change the zone's MX, and changes nothing: the update asks that there be no SOA,
        which no server can grant, and would write only what stands there. Raises as `update` does."""
        now = self.now(zone, "@", "MX")
        message = dns.update.UpdateMessage(dns.name.from_text(host(zone)), keyring=self._key())
        message.absent("@", dns.rdatatype.SOA)
        for rdata in now.rdatas.values():
            message.add("@", now.ttl or 0, rdata)
        try:
            self._send(zone, message)
        except Rejected as fault:
            if fault.code != "NXRRSET":
                raise
        return f"the key {self._update['key_name']} may change {zone}"

    def _message(self, zone: str, edits: Sequence[Edit], helds: Sequence[Held], covered: Collection[int],
                 key: dns.tsig.Key) -> dns.update.UpdateMessage:
        """covered: the edits whose set is shown by a wildcard only, and is therefore not there."""
        message = dns.update.UpdateMessage(dns.name.from_text(host(zone)), keyring=key)
        for number, (edit, now) in enumerate(zip(edits, helds, strict=True)):
            self._require(zone, edit, now, edits, message, there=bool(now.rdatas) and number not in covered)
        for edit, now in zip(edits, helds, strict=True):
            owner = dns.name.from_text(owner_name(edit.owner, zone))
            for value in edit.values:
                message.add(owner, edit.ttl, now.rdatas.get(value) or _rdata(edit.kind, value))
        return message

    def _covered(self, zone: str, edits: Sequence[Edit], helds: Sequence[Held]) -> set[int]:
        """Which edits found what a wildcard beside them shows for every name that is not there (RFC 4592)."""
        found = set()
        for number, (edit, now) in enumerate(zip(edits, helds, strict=True)):
            if now.rdatas and edit.owner not in ("@", "*"):
                _, _, above = edit.owner.partition(".")
                wild = self.now(zone, f"*.{above}" if above else "*", edit.kind)
                if set(wild.rdatas) == set(now.rdatas):
                    found.add(number)
        return found

    def _require(self, zone: str, edit: Edit, now: Held, edits: Sequence[Edit], message: dns.update.UpdateMessage, *,
                 there: bool) -> None:
        """Prerequisites of one edit (RFC 2136, section 2.4), and the removal of what stands there."""
        name = owner_name(edit.owner, zone)
        if set(now.rdatas) != set(edit.expected):
            raise changed(self._name, zone, edit, now)
        beside = [each for each in edits if each.owner == edit.owner and each is not edit]
        if edit.kind != "CNAME" and edit.values and now.alias and not any(each.kind == "CNAME" for each in beside):
            raise Rejected(self._name, f"a CNAME stands at {name}, so nothing else can",
                           remedy="take the CNAME away first (RFC 1034, section 3.6.2)")
        owner, kind = dns.name.from_text(name), dns.rdatatype.from_text(edit.kind)
        if there:
            message.present(owner, *now.rdatas.values())
            message.delete(owner, kind)
        elif edit.kind == "CNAME" and not beside:
            message.absent(owner)  # else a server passes over a CNAME beside other data in silence
        else:
            message.absent(owner, kind)

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
        where, port = self._servers.place(server)
        try:
            line = socket.create_connection((where, port), CONNECT_SECONDS)
        except OSError:
            raise Unreachable(self._name, f"no connection to {server} for an update of {zone}") from None
        with line:
            line.setblocking(False)
            self._site.before_call()
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
            raise Denied(self._name, text, code=said, remedy=(
                f"allow the key {key} to update {zone}, and see that every mail host of the zone has an address there"))
        if code == dns.rcode.SERVFAIL:
            raise InDoubt(self._name, text, code=said)
        raise Rejected(self._name, text, code=said)


def _rdata(kind: str, value: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), zone_file(kind, value),
                               dns.name.root, relativize=False)


def _tsig_code(error: Exception) -> str:
    return type(error).__name__.removeprefix("Peer").upper().replace("SIGNATURE", "SIG")
