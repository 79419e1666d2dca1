"""What DNS servers say of a record set: one server's reply, and what all of a zone's servers show together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.rcode
import dns.rdata
import dns.rdatatype

from engine.connections.dns_lookup import Asked, Reply
from engine.connections.records import canonical, owner_name
from engine.contract import Rejected, Unreachable


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
class Held:
    """A record set as the primary holds it: raw, so that what is kept is written back as it was."""

    ttl: int | None = None
    rdatas: dict[str, dns.rdata.Rdata] = field(default_factory=dict)
    alias: bool = False  # a CNAME stands at the owner, whatever was asked


def held(connection: str, reply: Reply, server: str, asked: Asked, *, authoritative: bool) -> Held:
    """What a reply says is there. Raises Unreachable where it says nothing: silence, an error code, a lame server."""
    name = asked.name.to_text(omit_final_dot=True)
    what = f"{name} {dns.rdatatype.to_text(asked.kind)}"
    if isinstance(reply, str):
        raise Unreachable(connection, f"{server}: {reply} to {what}")
    code = dns.rcode.to_text(reply.rcode())
    if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise Unreachable(connection, f"{server} answered {code} to {what}", code=code)
    if authoritative and not reply.flags & dns.flags.AA:
        raise Unreachable(connection, f"{server} is not responsible for {what} (lame)", code="LAME",
                          remedy="correct dns.servers in the inventory, or the delegation of the zone")
    found = Held()
    for rrset in reply.answer:
        if rrset.name == asked.name and rrset.rdtype == asked.kind:
            found.ttl = rrset.ttl
            found.rdatas = {_text(rdata): rdata for rdata in rrset}
        found.alias |= rrset.name == asked.name and rrset.rdtype == dns.rdatatype.CNAME
    return found


def changed(connection: str, zone: str, edit: Edit, now: Held) -> Rejected:
    """What a set that is not as its edit expects is called, however the zone is kept."""
    return Rejected(connection, f"{owner_name(edit.owner, zone)} {edit.kind} was changed meanwhile: it is now "
                                f"{', '.join(now.rdatas) or 'not there'}",
                    code="NXRRSET", remedy="plan again and look at what it has become")


def _text(rdata: dns.rdata.Rdata) -> str:
    strings: Any = getattr(rdata, "strings", None)
    if strings is not None:
        return b"".join(strings).decode("utf-8", "backslashreplace")
    kind = dns.rdatatype.to_text(rdata.rdtype)
    try:
        return canonical(kind, rdata.to_text())
    except ValueError:
        return rdata.to_text().lower()  # a foreign record of an odd form is shown as it is
