"""One suite for the lab's DNS and BIND 9: what the client makes of each answer, and the safety notes' D1 to D5."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.connections.dns import Edit
from engine.contract import Denied, Fault, InDoubt, Rejected, Unreachable
from tests.servers.dns_worlds import BindWorld, DnsWorld, client, world
from tests.servers.relay import relay
from tests.servers.test_dns_wire import late

MICROSOFT = "0 contoso-com.k-v1.mx.microsoft."
SOURCE = "10 mail.contoso.com."


@pytest.fixture(params=["lab", pytest.param("bind", marks=pytest.mark.server("bind"))])
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DnsWorld]:
    with world(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BindWorld]:
    with world("bind", tmp_path) as made:
        assert isinstance(made, BindWorld)
        yield made


def servers(each: DnsWorld) -> list[str]:
    found: list[str] = each.connection["servers"]["contoso.com"]
    return found


# ------------------------------------------------------------------------------------------------------- reads


def test_what_all_servers_show_in_one_written_form(each: DnsWorld) -> None:
    found = client(each).record_set("Contoso.COM", "@", "MX")
    assert (found.values, found.ttl, found.agree, found.absent) == ((SOURCE,), 86400, True, False)
    assert len(found.servers) == 2
    assert client(each).record_set("contoso.com", "nowhere", "A").absent
    assert client(each).record_set("contoso.com", "mail", "AAAA").absent
    assert "v=spf1 mx -all" in client(each).record_set("contoso.com", "@", "TXT").values


@pytest.mark.requirement("B-36", "B-41")
def test_a_lagging_secondary_is_believed_and_named(each: DnsWorld) -> None:
    assert client(each).replace("contoso.com", "@", "MX", [MICROSOFT], 3600, [SOURCE]) is None
    found = client(each).record_set("contoso.com", "@", "MX")
    assert (found.values, found.agree, found.lagging) == ((SOURCE,), False, (servers(each)[1],))
    assert (found.primary.values, found.primary.ttl, found.ttl) == ((MICROSOFT,), 3600, 86400)
    each.catch_up()
    found = client(each).record_set("contoso.com", "@", "MX")
    assert (found.values, found.agree) == ((MICROSOFT,), True)


def test_a_set_one_server_does_not_show_yet_is_not_absent(each: DnsWorld) -> None:
    client(each).add_values("contoso.com", "new", "TXT", ["hello"], 60)
    found = client(each).record_set("contoso.com", "new", "TXT")
    assert (found.absent, found.agree, found.values) == (False, False, ())


def test_a_server_that_is_not_responsible_says_nothing_about_the_zone(each: DnsWorld) -> None:
    with pytest.raises(Unreachable, match="REFUSED"):
        client(each, servers={"example.org": servers(each)}).record_set("example.org", "@", "MX")
    with pytest.raises(Unreachable, match="lame") as caught:
        client(each, servers={"contoso.com": each.connection["resolvers"]}).record_set("contoso.com", "@", "MX")
    assert "dns.servers" in caught.value.remedy


def test_one_silent_server_makes_its_zone_unknown_and_no_other(each: DnsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.connections.dns_lookup.SILENCE_SECONDS", 0.1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        silent = f"127.0.0.1:{dead.getsockname()[1]}"
        one = client(each, servers={"contoso.com": [servers(each)[0], silent], "fabrikam.com": servers(each)})
        found = one.record_sets([("contoso.com", "@", "MX"), ("fabrikam.com", "@", "MX")])
    assert isinstance(found["contoso.com", "@", "MX"], Unreachable)
    assert silent in str(found["contoso.com", "@", "MX"])
    assert not isinstance(found["fabrikam.com", "@", "MX"], Fault)


def test_a_cut_answer_is_fetched_over_tcp(each: DnsWorld) -> None:
    values = tuple(f"{number:03}{'x' * 100}" for number in range(40))
    client(each).replace("contoso.com", "many", "TXT", values, 60, ())
    each.catch_up()
    assert client(each).record_set("contoso.com", "many", "TXT").values == values


def test_the_inside_proves_nothing_about_the_public_zone(each: DnsWorld) -> None:
    """D1: only the servers named for the zone are asked, never a resolver that may see another zone."""
    client(each).replace("contoso.com", "@", "MX", [MICROSOFT], 3600, [SOURCE])
    each.catch_up()
    found = client(each).record_set("contoso.com", "@", "MX")
    assert (found.values, found.agree) == ((MICROSOFT,), True)
    assert {shown.server for shown in found.servers} == set(servers(each))


@pytest.mark.parametrize("leftover", [
    [MICROSOFT, "20 backup.contoso.com."], [MICROSOFT.replace("0 ", "5 ", 1)], ["0 ."],
    [MICROSOFT, "0 ."]], ids=["second host", "preference", "null", "null beside"])
def test_the_whole_mx_set_is_shown_as_it_stands(each: DnsWorld, leftover: list[str]) -> None:
    """D5: never "contains"."""
    client(each).replace("contoso.com", "@", "MX", leftover, 3600, [SOURCE])
    each.catch_up()
    assert client(each).record_set("contoso.com", "@", "MX").values == tuple(sorted(leftover))


# ------------------------------------------------------------------------------------------------------ writes


@pytest.mark.requirement("B-37", "B-41")
def test_an_update_is_compare_and_set(each: DnsWorld) -> None:
    with pytest.raises(Rejected, match="changed meanwhile") as caught:
        client(each).replace("contoso.com", "@", "MX", [MICROSOFT], 60, ["10 other.contoso.com."])
    assert caught.value.code == "NXRRSET"
    assert client(each).record_set("contoso.com", "@", "MX").values == (SOURCE,)
    client(each).delete("contoso.com", "backup", "A", ["192.0.2.11"])
    each.catch_up()
    assert client(each).record_set("contoso.com", "backup", "A").absent


@pytest.mark.requirement("B-14")
def test_single_values_leave_the_others_and_their_ttl(each: DnsWorld) -> None:
    long = "v=DKIM1; k=rsa; p=" + "A" * 400 + ' with "quotes"'
    before = client(each).record_set("contoso.com", "@", "TXT")
    client(each).add_values("contoso.com", "@", "TXT", ["MS=ms1", long], 60)
    each.catch_up()
    after = client(each).record_set("contoso.com", "@", "TXT")
    assert (set(after.values), after.ttl) == ({*before.values, "MS=ms1", long}, before.ttl)
    client(each).add_values("contoso.com", "@", "TXT", ["MS=ms1"], 60)
    assert client(each).record_set("contoso.com", "@", "TXT").agree  # nothing was written
    client(each).remove_values("contoso.com", "@", "TXT", ["MS=ms1", long])
    each.catch_up()
    assert client(each).record_set("contoso.com", "@", "TXT").values == before.values


@pytest.mark.requirement("B-49")
def test_a_cname_beside_other_data_is_refused_and_not_passed_over(each: DnsWorld) -> None:
    with pytest.raises(Rejected, match="other records"):
        client(each).replace("contoso.com", "mail", "CNAME", ["elsewhere.contoso.com."], 60, ())
    with pytest.raises(Rejected, match="CNAME stands"):
        client(each).replace("fabrikam.com", "autodiscover", "A", ["192.0.2.1"], 60, ())
    held = client(each).record_set("contoso.com", "autodiscover", "A").values
    client(each).update("contoso.com", [Edit("autodiscover", "A", (), 0, held),
                                        Edit("autodiscover", "CNAME", ("autodiscover.outlook.com.",), 60, ())])
    each.catch_up()
    found = client(each).record_set("contoso.com", "autodiscover", "CNAME")
    assert (found.values, found.agree) == (("autodiscover.outlook.com.",), True)


def test_what_a_wildcard_shows_is_replaced_by_a_set_of_its_own(each: DnsWorld) -> None:
    """D5: the set is not there, though it is shown; the prerequisite must say so (RFC 4592; RFC 2136, 2.4)."""
    client(each).replace("contoso.com", "*", "MX", [SOURCE], 300, ())
    each.catch_up()
    assert client(each).record_set("contoso.com", "sales", "MX").values == (SOURCE,)
    client(each).replace("contoso.com", "sales", "MX", [MICROSOFT], 3600, [SOURCE])
    each.catch_up()
    assert client(each).record_set("contoso.com", "sales", "MX").values == (MICROSOFT,)
    assert client(each).record_set("contoso.com", "other", "MX").values == (SOURCE,)


def test_a_mail_host_without_an_address_is_denied_in_the_servers_words(each: DnsWorld) -> None:
    with pytest.raises(Denied, match="REFUSED") as caught:
        client(each).replace("contoso.com", "@", "MX", ["10 nowhere.contoso.com."], 3600, [SOURCE])
    assert "address" in caught.value.remedy


def test_a_wrong_key_is_denied_by_name_and_the_secret_stays_hidden(each: DnsWorld) -> None:
    update = each.connection["update"]
    for change in ({"secret": "d3Jvbmcgc2VjcmV0"}, {"key_name": "nobody"}, {"secret": "not base64!"}):
        wrong = client(each, update={**update, **change})
        with pytest.raises(Denied) as caught:
            wrong.add_values("contoso.com", "@", "TXT", ["x"], 60)
        assert str({**update, **change}["key_name"]) in str(caught.value)
        assert str({**update, **change}["secret"]) not in repr(caught.value)
    assert "x" not in client(each).record_set("contoso.com", "@", "TXT").values


def test_a_clock_that_is_wrong_is_named(each: DnsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    late(monkeypatch)
    with pytest.raises(Denied, match="clocks differ") as caught:
        client(each).add_values("contoso.com", "@", "TXT", ["x"], 60)
    assert caught.value.code == "BADTIME"


def test_a_lost_answer_leaves_it_in_doubt_and_a_look_shows_that_it_was_done(each: DnsWorld) -> None:
    with relay(each.connection["update"]["server"], cuts_updates=True) as place:
        behind = {"update": {**each.connection["update"], "server": place}, "servers": {"contoso.com": [place]}}
        with pytest.raises(InDoubt):
            client(each, **behind).add_values("contoso.com", "@", "TXT", ["x"], 60)
    each.catch_up()
    assert "x" in client(each).record_set("contoso.com", "@", "TXT").values


# --------------------------------------------------------------------- what only a server of its own process does


@pytest.mark.server("bind")
def test_a_secondary_that_has_died_makes_its_zones_unknown(server: BindWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.connections.dns_lookup.SILENCE_SECONDS", 0.2)
    server.server.secondary.stop()
    with pytest.raises(Unreachable, match=servers(server)[1]):
        client(server).record_set("contoso.com", "@", "MX")


@pytest.mark.server("bind")
def test_a_primary_that_hangs_is_unknown_and_nothing_is_written(
        server: BindWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.connections.dns_lookup.TCP_SECONDS", 0.3)
    monkeypatch.setattr("engine.connections.dns_lookup.SILENCE_SECONDS", 0.1)
    server.server.primary.pause()
    with pytest.raises(Unreachable):
        client(server).record_set("contoso.com", "@", "MX")
    with pytest.raises(Unreachable):
        client(server).replace("contoso.com", "@", "MX", [MICROSOFT], 3600, [SOURCE])
    server.server.primary.resume()
    assert client(server).record_set("contoso.com", "@", "MX").values == (SOURCE,)


@pytest.mark.server("bind")
def test_a_zone_that_could_not_be_loaded_is_unknown(server: BindWorld) -> None:
    """SERVFAIL: the secondary never got this one, as its transfer is refused."""
    with pytest.raises(Unreachable, match="SERVFAIL"):
        client(server, servers={"unfetched.example": [servers(server)[1]]}).record_set("unfetched.example", "@", "MX")
