"""The source's DNS, asked and updated by dnspython over real sockets."""

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


def test_both_servers_answer_with_authority_over_udp_and_tcp(lab: Stand) -> None:
    for place in lab.connections["dns"]["servers"]["contoso.com"]:
        for tcp in (False, True):
            answer = ask(lab, place, "contoso.com", "MX", tcp=tcp)
            assert values(answer) == ["10 mail.contoso.com."]
            assert answer.answer[0].ttl == 86400
            assert answer.flags & dns.flags.AA
    first = lab.connections["dns"]["servers"]["contoso.com"][0]
    assert ask(lab, first, "nowhere.contoso.com", "A").rcode() == dns.rcode.NXDOMAIN
    assert ask(lab, first, "mail.contoso.com", "AAAA").rcode() == dns.rcode.NOERROR
    assert ask(lab, first, "example.org", "A").rcode() == dns.rcode.REFUSED
    assert values(ask(lab, first, "autodiscover.fabrikam.com", "A")) == ["192.0.2.10", "mail.contoso.com."]


def test_update_is_compare_and_set_and_counted_once(lab: Stand) -> None:
    change = update(lab)
    change.present("@", "MX", "10 mail.contoso.com.")
    change.replace("@", 3600, "MX", MICROSOFT)
    assert send(lab, change) == "NOERROR"
    again = update(lab)
    again.present("@", "MX", "10 mail.contoso.com.")
    again.replace("@", 60, "MX", "5 other.contoso.com.")
    assert send(lab, again) == "NXRRSET"
    assert lab.organisation.dns.lookup_public("contoso.com", "MX") == [MICROSOFT]
    same = update(lab)
    same.replace("@", 3600, "MX", MICROSOFT)
    assert send(lab, same) == "NOERROR"
    assert lab.counters.effects == {"dns/contoso.com/@/MX replace": 1}
    assert lab.counters.moved == 1


def test_prerequisites_answer_with_their_own_codes(lab: Stand) -> None:
    taken = update(lab)
    taken.absent("@", "MX")
    assert send(lab, taken) == "YXRRSET"
    named = update(lab)
    named.absent("mail")
    assert send(lab, named) == "YXDOMAIN"
    missing = update(lab)
    missing.present("nobody")
    assert send(lab, missing) == "NXDOMAIN"
    assert send(lab, update(lab, "example.org")) == "NOTAUTH"


def test_who_is_not_the_key_changes_nothing(lab: Stand) -> None:
    unsigned = dns.update.UpdateMessage("contoso.com")
    unsigned.delete("@", "MX")
    assert send(lab, unsigned) == "REFUSED"
    forged = update(lab, secret="d3Jvbmcgc2VjcmV0")
    forged.delete("@", "MX")
    with pytest.raises(dns.tsig.PeerBadSignature):
        send(lab, forged)
    assert lab.organisation.dns.lookup_public("contoso.com", "MX") == ["10 mail.contoso.com."]
    assert lab.counters.moved == 0


def test_single_values_and_the_cname_rule(lab: Stand) -> None:
    before = set(lab.organisation.dns.lookup_public("contoso.com", "TXT"))
    change = update(lab)
    change.add("@", 3600, "TXT", '"MS=ms12345678"')
    change.add("mail", 60, "CNAME", "elsewhere.contoso.com.")  # beside an address: ignored in silence
    assert send(lab, change) == "NOERROR"
    assert set(lab.organisation.dns.lookup_public("contoso.com", "TXT")) == before | {'"MS=ms12345678"'}
    assert lab.organisation.dns.lookup_public("mail.contoso.com", "CNAME") == []
    back = update(lab)
    back.delete("@", "TXT", '"MS=ms12345678"')
    assert send(lab, back) == "NOERROR"
    assert set(lab.organisation.dns.lookup_public("contoso.com", "TXT")) == before
    apex = update(lab)
    apex.delete("@", "NS")
    send(lab, apex)
    assert len(lab.organisation.dns.lookup_public("contoso.com", "NS")) == 2


def test_a_lagging_secondary_and_a_resolver_show_the_old_value_for_their_time(lab: Stand) -> None:
    servers, resolver = lab.connections["dns"]["servers"]["contoso.com"], lab.connections["dns"]["resolvers"][0]
    assert values(ask(lab, resolver, "contoso.com", "MX")) == ["10 mail.contoso.com."]
    lab.organisation.dns.lag_seconds = 300
    change = update(lab)
    change.replace("@", 3600, "MX", MICROSOFT)
    send(lab, change)
    shown = [values(ask(lab, place, "contoso.com", "MX")) for place in servers]
    assert shown == [[MICROSOFT], ["10 mail.contoso.com."]]
    assert lab.organisation.dns.lookup_public("contoso.com", "MX") == []
    lab.clock.advance(301)
    assert values(ask(lab, servers[1], "contoso.com", "MX")) == [MICROSOFT]
    kept = ask(lab, resolver, "contoso.com", "MX")
    assert (values(kept), kept.answer[0].ttl) == (["10 mail.contoso.com."], 86400 - 301)
    lab.clock.advance(86400)
    assert values(ask(lab, resolver, "contoso.com", "MX")) == [MICROSOFT]
    inside = lab.connections["dns"]["internal"][0]
    assert values(ask(lab, inside, "contoso.com", "MX")) == ["10 mail.contoso.com."]
    assert values(ask(lab, inside, "mail.contoso.com", "A")) == ["10.0.0.10"]


def test_an_answer_too_large_for_udp_is_cut_and_whole_over_tcp(lab: Stand) -> None:
    change = update(lab)
    for number in range(40):
        change.add("many", 60, "TXT", f'"{number:03}{"x" * 100}"')
    assert send(lab, change) == "NOERROR"
    place = lab.connections["dns"]["servers"]["contoso.com"][0]
    assert ask(lab, place, "many.contoso.com", "TXT").flags & dns.flags.TC
    assert len(values(ask(lab, place, "many.contoso.com", "TXT", tcp=True))) == 40


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
