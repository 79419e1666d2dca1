"""One suite for the lab's DNS and BIND 9: the protocol itself, asked and updated by dnspython."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import pytest

from tests.servers.dns_worlds import DnsWorld, world

MICROSOFT = "0 contoso-com.k-v1.mx.microsoft."


@pytest.fixture(params=["lab", pytest.param("bind", marks=pytest.mark.server("bind"))])
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DnsWorld]:
    with world(request.param, tmp_path) as made:
        yield made


def servers(each: DnsWorld) -> list[str]:
    found: list[str] = each.connection["servers"]["contoso.com"]
    return found


def ask(place: str, name: str, kind: str, *, tcp: bool = False, source: str | None = None) -> dns.message.Message:
    host, _, port = place.rpartition(":")
    query = dns.message.make_query(name, kind)
    return (dns.query.tcp if tcp else dns.query.udp)(query, host, 5, port=int(port), source=source)


def values(answer: dns.message.Message) -> list[str]:
    return sorted(rdata.to_text() for rrset in answer.answer for rdata in rrset)


def shown(each: DnsWorld, name: str, kind: str) -> list[str]:
    return values(ask(servers(each)[0], name, kind))


def serial(each: DnsWorld, place: int = 0) -> int:
    soa: Any = ask(servers(each)[place], "contoso.com", "SOA").answer[0][0]
    return int(soa.serial)


def update(each: DnsWorld, zone: str = "contoso.com", **changes: Any) -> dns.update.UpdateMessage:
    settings = {**each.connection["update"], **changes}
    return dns.update.UpdateMessage(zone, keyring=dns.tsig.Key(settings["key_name"], settings["secret"],
                                                               settings["algorithm"]))


def send(each: DnsWorld, message: dns.message.Message, place: int = 0) -> str:
    host, _, port = servers(each)[place].rpartition(":")
    return dns.rcode.to_text(dns.query.tcp(message, host, 5, int(port)).rcode())


def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signs in this process does it with a clock that is an hour slow."""
    sign = dns.tsig.sign
    monkeypatch.setattr(dns.tsig, "sign", lambda wire, key, rdata, now, *more: sign(
        wire, key, rdata, now - 3600, *more))


def test_both_servers_answer_with_authority_over_udp_and_tcp(each: DnsWorld) -> None:
    for place in servers(each):
        for tcp in (False, True):
            answer = ask(place, "contoso.com", "MX", tcp=tcp)
            assert values(answer) == ["10 mail.contoso.com."]
            assert answer.answer[0].ttl == 86400
            assert answer.flags & dns.flags.AA
    first = servers(each)[0]
    assert [each.lower() for each in values(ask(first, "CONTOSO.com", "MX"))] == ["10 mail.contoso.com."]
    assert ask(first, "nowhere.contoso.com", "A").rcode() == dns.rcode.NXDOMAIN
    empty = ask(first, "mail.contoso.com", "AAAA")
    assert (empty.rcode(), values(empty), empty.authority[0].rdtype) == (dns.rcode.NOERROR, [], dns.rdatatype.SOA)
    assert ask(first, "example.org", "A").rcode() == dns.rcode.REFUSED
    assert values(ask(first, "autodiscover.fabrikam.com", "CNAME")) == ["mail.contoso.com."]


def test_an_update_is_compare_and_set_and_raises_the_serial_once(each: DnsWorld) -> None:
    before = serial(each)
    change = update(each)
    change.present("@", "MX", "10 mail.contoso.com.")
    change.replace("@", 3600, "MX", MICROSOFT)
    assert send(each, change) == "NOERROR"
    again = update(each)
    again.present("@", "MX", "10 mail.contoso.com.")
    again.replace("@", 60, "MX", "5 mail.contoso.com.")
    assert send(each, again) == "NXRRSET"
    assert shown(each, "contoso.com", "MX") == [MICROSOFT]
    same = update(each)
    same.replace("@", 3600, "MX", MICROSOFT)
    assert send(each, same) == "NOERROR"
    assert serial(each) == before + 1


def test_prerequisites_answer_with_their_own_codes(each: DnsWorld) -> None:
    taken, named, missing, gone = update(each), update(each), update(each), update(each)
    taken.absent("@", "MX")
    named.absent("mail")
    missing.present("nobody")
    gone.present("@", "SRV")
    assert [send(each, one) for one in (taken, named, missing, gone)] == ["YXRRSET", "YXDOMAIN", "NXDOMAIN", "NXRRSET"]
    assert send(each, update(each, "example.org")) == "NOTAUTH"


def test_the_greater_of_two_record_sets_is_not_the_one_that_was_named(each: DnsWorld) -> None:
    """`present` names the whole set: one value of two is not enough (RFC 2136, section 2.4.2)."""
    change = update(each)
    change.add("@", 86400, "MX", "20 mail.contoso.com.")
    assert send(each, change) == "NOERROR"
    half = update(each)
    half.present("@", "MX", "10 mail.contoso.com.")
    half.delete("@", "MX")
    assert send(each, half) == "NXRRSET"
    assert len(shown(each, "contoso.com", "MX")) == 2


def test_who_has_not_the_key_changes_nothing(each: DnsWorld) -> None:
    before = serial(each)
    unsigned = dns.update.UpdateMessage("contoso.com")
    unsigned.delete("@", "MX")
    assert send(each, unsigned) == "REFUSED"
    forged = update(each, secret="d3Jvbmcgc2VjcmV0")
    forged.delete("@", "MX")
    with pytest.raises(dns.tsig.PeerBadSignature):
        send(each, forged)
    stranger = update(each, key_name="nobody")
    stranger.delete("@", "MX")
    with pytest.raises(dns.tsig.PeerBadKey):
        send(each, stranger)
    assert serial(each) == before


def test_a_clock_that_is_wrong_is_told_as_such(each: DnsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    change = update(each)
    change.delete("@", "MX")
    late(monkeypatch)
    with pytest.raises(dns.tsig.PeerBadTime):
        send(each, change)
    assert shown(each, "contoso.com", "MX") == ["10 mail.contoso.com."]


def test_the_secondary_takes_no_updates(each: DnsWorld) -> None:
    change = update(each)
    change.add("new", 60, "A", "192.0.2.1")
    assert send(each, change, place=1) in ("REFUSED", "NOTAUTH")


def test_single_values_and_the_cname_rule(each: DnsWorld) -> None:
    before = set(shown(each, "contoso.com", "TXT"))
    change = update(each)
    change.add("@", 3600, "TXT", '"MS=ms12345678"')
    change.add("mail", 60, "CNAME", "elsewhere.contoso.com.")  # beside an address: passed over in silence
    assert send(each, change) == "NOERROR"
    assert set(shown(each, "contoso.com", "TXT")) == before | {'"MS=ms12345678"'}
    assert shown(each, "mail.contoso.com", "CNAME") == []
    address = update(each, "fabrikam.com")
    address.add("autodiscover", 60, "A", "192.0.2.1")  # beside a CNAME: passed over as well
    assert send(each, address) == "NOERROR"
    assert shown(each, "autodiscover.fabrikam.com", "CNAME") == ["mail.contoso.com."]
    back = update(each)
    back.delete("@", "TXT", '"MS=ms12345678"')
    assert send(each, back) == "NOERROR"
    assert set(shown(each, "contoso.com", "TXT")) == before
    apex = update(each)
    apex.delete("@", "NS")
    send(each, apex)
    assert len(shown(each, "contoso.com", "NS")) == 2


def test_a_new_cname_takes_the_place_of_the_old_one(each: DnsWorld) -> None:
    change = update(each, "fabrikam.com")
    change.add("autodiscover", 60, "CNAME", "autodiscover.outlook.com.")
    assert send(each, change) == "NOERROR"
    assert shown(each, "autodiscover.fabrikam.com", "CNAME") == ["autodiscover.outlook.com."]


def test_a_value_added_with_another_ttl_changes_that_of_the_whole_set(each: DnsWorld) -> None:
    change = update(each)
    change.add("@", 60, "TXT", '"MS=ms12345678"')
    assert send(each, change) == "NOERROR"
    answer = ask(servers(each)[0], "contoso.com", "TXT")
    assert len(answer.answer) == 1 and answer.answer[0].ttl == 60 and len(answer.answer[0]) > 1


def test_a_mail_host_of_the_zone_without_an_address_is_refused(each: DnsWorld) -> None:
    change = update(each)
    change.replace("@", 3600, "MX", "10 nowhere.contoso.com.")
    assert send(each, change) == "REFUSED"
    outside = update(each)
    outside.replace("@", 3600, "MX", "10 nowhere.example.org.")
    assert send(each, outside) == "NOERROR"
    with_address = update(each)
    with_address.add("new", 60, "A", "192.0.2.1")
    with_address.replace("@", 3600, "MX", "10 new.contoso.com.")
    assert send(each, with_address) == "NOERROR"


def test_a_wildcard_answers_for_names_that_are_not_there_and_holds_no_prerequisite(each: DnsWorld) -> None:
    change = update(each)
    change.add("*", 300, "MX", "10 mail.contoso.com.")
    assert send(each, change) == "NOERROR"
    assert shown(each, "sales.contoso.com", "MX") == ["10 mail.contoso.com."]
    assert shown(each, "mail.contoso.com", "MX") == []  # a name that is there is not covered (RFC 4592, section 2.2.1)
    held = update(each)
    held.present("sales", "MX", "10 mail.contoso.com.")
    assert send(each, held) == "NXRRSET"


def test_secondary_and_resolver_show_the_old_value_for_their_time(each: DnsWorld) -> None:
    resolver = each.connection["resolvers"][0]
    assert values(ask(resolver, "contoso.com", "MX")) == ["10 mail.contoso.com."]
    assert not ask(resolver, "contoso.com", "MX").flags & dns.flags.AA
    change = update(each)
    change.replace("@", 3600, "MX", MICROSOFT)
    send(each, change)
    assert [values(ask(place, "contoso.com", "MX")) for place in servers(each)] == [
        [MICROSOFT], ["10 mail.contoso.com."]]
    each.catch_up()
    assert [values(ask(place, "contoso.com", "MX")) for place in servers(each)] == [[MICROSOFT], [MICROSOFT]]
    kept = ask(resolver, "contoso.com", "MX")
    assert values(kept) == ["10 mail.contoso.com."] and 3600 < kept.answer[0].ttl <= 86400


def test_a_resolver_keeps_an_absence_that_is_over(each: DnsWorld) -> None:
    """Who asked too early is told so until the SOA's minimum has run out (RFC 2308; D2)."""
    resolver = each.connection["resolvers"][0]
    assert ask(resolver, "proof.contoso.com", "TXT").rcode() == dns.rcode.NXDOMAIN
    assert ask(resolver, "mail.contoso.com", "TXT").rcode() == dns.rcode.NOERROR
    change = update(each)
    change.add("proof", 60, "TXT", '"MS=ms12345678"')
    change.add("mail", 60, "TXT", '"other"')
    assert send(each, change) == "NOERROR"
    each.catch_up()
    for place in servers(each):
        assert values(ask(place, "proof.contoso.com", "TXT")) == ['"MS=ms12345678"']
    early, empty = ask(resolver, "proof.contoso.com", "TXT"), ask(resolver, "mail.contoso.com", "TXT")
    assert (early.rcode(), empty.rcode(), values(empty)) == (dns.rcode.NXDOMAIN, dns.rcode.NOERROR, [])
    assert early.authority[0].rdtype == empty.authority[0].rdtype == dns.rdatatype.SOA


def test_the_inside_shows_what_the_world_never_sees(each: DnsWorld) -> None:
    change = update(each)
    change.replace("@", 3600, "MX", MICROSOFT)
    send(each, change)
    place, source = each.inside
    assert values(ask(place, "contoso.com", "MX", source=source)) == ["10 mail.contoso.com."]
    assert values(ask(place, "mail.contoso.com", "A", source=source)) == ["10.0.0.10"]
    assert values(ask(servers(each)[0], "mail.contoso.com", "A")) == ["192.0.2.10"]


def test_an_answer_too_large_for_udp_is_cut_and_whole_over_tcp(each: DnsWorld) -> None:
    change = update(each)
    for number in range(40):
        change.add("many", 60, "TXT", f'"{number:03}{"x" * 100}"')
    assert send(each, change) == "NOERROR"
    place = servers(each)[0]
    assert ask(place, "many.contoso.com", "TXT").flags & dns.flags.TC
    assert len(values(ask(place, "many.contoso.com", "TXT", tcp=True))) == 40
