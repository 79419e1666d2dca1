"""What only the lab's DNS does: effects are counted, time is its clock's, faults are drawn.

What it must do as any server does: tests/servers/test_dns_wire.py, where it stands beside BIND.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import pytest
from source_stand import Stand, stand

MICROSOFT = "0 contoso-com.k-v1.mx.microsoft."


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as made:
        yield made


def ask(lab: Stand, place: str, name: str, kind: str, *, tcp: bool = False) -> dns.message.Message:
    host, _, port = place.rpartition(":")
    query = dns.message.make_query(name, kind)
    return (dns.query.tcp if tcp else dns.query.udp)(query, host, 5, int(port))


def values(answer: dns.message.Message) -> list[str]:
    return sorted(rdata.to_text() for rrset in answer.answer for rdata in rrset)


def update(lab: Stand, zone: str = "contoso.com", secret: str | None = None) -> dns.update.UpdateMessage:
    settings = lab.connections["dns"]["update"]
    key = dns.tsig.Key(settings["key_name"], secret or settings["secret"], dns.tsig.HMAC_SHA256)
    return dns.update.UpdateMessage(zone, keyring=key)


def send(lab: Stand, message: dns.message.Message) -> str:
    host, _, port = lab.connections["dns"]["update"]["server"].rpartition(":")
    return dns.rcode.to_text(dns.query.tcp(message, host, 5, int(port)).rcode())


def test_what_an_update_changed_is_counted_once(lab: Stand) -> None:
    for number in (1, 2):
        change = update(lab)
        change.replace("@", 3600, "MX", MICROSOFT)
        assert send(lab, change) == "NOERROR", number
    unsigned = dns.update.UpdateMessage("contoso.com")
    unsigned.delete("@", "MX")
    assert send(lab, unsigned) == "REFUSED"
    assert lab.counters.effects == {"dns/contoso.com/@/MX replace": 1}
    assert lab.counters.moved == 1


def test_the_public_value_is_what_all_servers_say_and_caches_run_out_by_the_labs_clock(lab: Stand) -> None:
    servers, resolver = lab.connections["dns"]["servers"]["contoso.com"], lab.connections["dns"]["resolvers"][0]
    assert values(ask(lab, resolver, "contoso.com", "MX")) == ["10 mail.contoso.com."]
    lab.organisation.dns.lag_seconds = 300
    change = update(lab)
    change.replace("@", 3600, "MX", MICROSOFT)
    send(lab, change)
    assert lab.organisation.dns.lookup_public("contoso.com", "MX") == []
    lab.clock.advance(301)
    assert values(ask(lab, servers[1], "contoso.com", "MX")) == [MICROSOFT]
    assert lab.organisation.dns.lookup_public("contoso.com", "MX") == [MICROSOFT]
    kept = ask(lab, resolver, "contoso.com", "MX")
    assert (values(kept), kept.answer[0].ttl) == (["10 mail.contoso.com."], 86400 - 301)
    lab.clock.advance(86400)
    assert values(ask(lab, resolver, "contoso.com", "MX")) == [MICROSOFT]


def test_faults_answer_servfail_or_nothing_after_the_act(lab: Stand) -> None:
    lab.faults.set({"kind": "unavailable", "match": "dns query", "times": 1})
    place = lab.connections["dns"]["servers"]["contoso.com"][0]
    assert ask(lab, place, "contoso.com", "MX").rcode() == dns.rcode.SERVFAIL
    lab.faults.set({"kind": "drop", "match": "dns update", "times": 1})
    change = update(lab)
    change.replace("@", 60, "MX", MICROSOFT)
    with pytest.raises((EOFError, ConnectionError)):
        send(lab, change)
    assert values(ask(lab, place, "contoso.com", "MX")) == [MICROSOFT]
