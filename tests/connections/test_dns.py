"""The DNS client against the lab's servers: real sockets, two authoritative servers, signed updates."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest

from engine.connections import Site
from engine.connections.dns import Dns, Edit
from engine.contract import Denied, Fault, Handover, InDoubt, Rejected, Unreachable
from engine.world import World
from tests.lab.source_stand import Stand, stand

MICROSOFT = "0 contoso-com.k-v1.mx.microsoft."


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as made:
        yield made


def client(lab: Stand, **changes: Any) -> Dns:
    return site(lab, **changes).dns


def site(lab: Stand, **changes: Any) -> Site:
    return Site({"dns": {**lab.connections["dns"], **changes}}, {"migration": "test"}, World())


def test_what_all_servers_show_in_one_written_form(lab: Stand) -> None:
    found = client(lab).record_set("Contoso.COM", "@", "MX")
    assert (found.values, found.ttl, found.agree, found.absent) == (("10 mail.contoso.com.",), 86400, True, False)
    assert len(found.servers) == 2
    assert client(lab).record_set("contoso.com", "nowhere", "A").absent
    texts = client(lab).record_set("contoso.com", "@", "TXT").values
    assert "v=spf1 mx -all" in texts


def test_a_lagging_secondary_is_believed_and_named(lab: Stand) -> None:
    dns_client = client(lab)
    before = dns_client.record_set("contoso.com", "@", "MX").values
    lab.organisation.dns.lag_seconds = 300
    assert dns_client.replace("contoso.com", "@", "MX", [MICROSOFT], 3600, before) is None
    found = client(lab).record_set("contoso.com", "@", "MX")
    second = lab.connections["dns"]["servers"]["contoso.com"][1]
    assert (found.values, found.agree, found.lagging) == (before, False, (second,))
    assert (found.primary.values, found.primary.ttl, found.ttl) == ((MICROSOFT,), 3600, 86400)
    lab.clock.advance(301)
    assert client(lab).record_set("contoso.com", "@", "MX").agree


def test_a_set_one_server_does_not_show_yet_is_not_absent(lab: Stand) -> None:
    lab.organisation.dns.lag_seconds = 300
    client(lab).add_values("contoso.com", "new", "TXT", ["hello"], 60)
    found = client(lab).record_set("contoso.com", "new", "TXT")
    assert (found.absent, found.agree, found.values) == (False, False, ())


def test_what_cannot_be_told_is_unknown_and_never_absent(lab: Stand) -> None:
    lab.faults.set({"kind": "unavailable", "match": "dns query", "times": 20})
    with pytest.raises(Unreachable, match="SERVFAIL"):
        client(lab).record_set("contoso.com", "@", "MX")
    lab.faults.by_hand.clear()
    servers = lab.connections["dns"]["servers"]["contoso.com"]
    with pytest.raises(Unreachable, match="REFUSED"):
        client(lab, servers={"example.org": servers}).record_set("example.org", "@", "MX")
    with pytest.raises(Unreachable, match="lame"):
        client(lab, servers={"contoso.com": lab.connections["dns"]["resolvers"]}).record_set("contoso.com", "@", "MX")


def test_one_dead_server_makes_its_zone_unknown_and_no_other(lab: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.connections.dns_lookup.SILENCE_SECONDS", 0.1)
    servers = lab.connections["dns"]["servers"]["contoso.com"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        silent = f"127.0.0.1:{dead.getsockname()[1]}"
        dns_client = client(lab, servers={"contoso.com": [servers[0], silent], "fabrikam.com": servers})
        found = dns_client.record_sets([("contoso.com", "@", "MX"), ("fabrikam.com", "@", "MX")])
    assert isinstance(found["contoso.com", "@", "MX"], Unreachable)
    assert silent in str(found["contoso.com", "@", "MX"])
    assert not isinstance(found["fabrikam.com", "@", "MX"], Fault)


def test_many_questions_are_quick_and_shared(lab: Stand) -> None:
    one = site(lab)
    questions = [("contoso.com", f"host{number}", "A") for number in range(300)]
    assert all(not isinstance(found, Fault) and found.absent for found in one.dns.record_sets(questions).values())
    assert lab.counters.requests["dns query"] == 600
    one.dns.record_sets(questions)
    assert lab.counters.requests["dns query"] == 600
    one.forget()
    one.dns.record_sets(questions[:1])
    assert lab.counters.requests["dns query"] == 602


def test_a_cut_answer_is_fetched_over_tcp(lab: Stand) -> None:
    values = tuple(f"{number:03}{'x' * 100}" for number in range(40))
    client(lab).replace("contoso.com", "many", "TXT", values, 60, ())
    assert client(lab).record_set("contoso.com", "many", "TXT").values == values


def test_an_update_is_compare_and_set(lab: Stand) -> None:
    with pytest.raises(Rejected, match="changed meanwhile") as caught:
        client(lab).replace("contoso.com", "@", "MX", [MICROSOFT], 60, ["10 other.contoso.com."])
    assert caught.value.code == "NXRRSET"
    assert lab.counters.moved == 0
    client(lab).delete("contoso.com", "mail", "A", ["192.0.2.10"])
    assert client(lab).record_set("contoso.com", "mail", "A").absent


def test_single_values_leave_the_others_and_their_ttl(lab: Stand) -> None:
    long = "v=DKIM1; k=rsa; p=" + "A" * 400 + ' with "quotes"'
    before = client(lab).record_set("contoso.com", "@", "TXT")
    client(lab).add_values("contoso.com", "@", "TXT", ["MS=ms1", long], 60)
    after = client(lab).record_set("contoso.com", "@", "TXT")
    assert (set(after.values), after.ttl) == ({*before.values, "MS=ms1", long}, before.ttl)
    client(lab).add_values("contoso.com", "@", "TXT", ["MS=ms1"], 60)
    assert lab.counters.moved == 1
    client(lab).remove_values("contoso.com", "@", "TXT", ["MS=ms1", long])
    assert client(lab).record_set("contoso.com", "@", "TXT").values == before.values


def test_a_cname_beside_other_data_is_refused_and_not_passed_over(lab: Stand) -> None:
    with pytest.raises(Rejected, match="other records"):
        client(lab).replace("contoso.com", "mail", "CNAME", ["elsewhere.contoso.com."], 60, ())
    with pytest.raises(Rejected, match="CNAME stands"):
        client(lab).replace("fabrikam.com", "autodiscover", "A", ["192.0.2.1"], 60, ())
    held = client(lab).record_set("contoso.com", "mail", "A").values
    client(lab).update("contoso.com", [Edit("mail", "A", (), 0, held),
                                       Edit("mail", "CNAME", ("elsewhere.contoso.com.",), 60, ())])
    assert client(lab).record_set("contoso.com", "mail", "CNAME").values == ("elsewhere.contoso.com.",)


def test_a_wrong_key_is_denied_by_name_and_the_secret_stays_hidden(lab: Stand) -> None:
    update = lab.connections["dns"]["update"]
    for change in ({"secret": "d3Jvbmcgc2VjcmV0"}, {"key_name": "nobody"}, {"secret": "not base64!"}):
        wrong = client(lab, update={**update, **change})
        with pytest.raises(Denied) as caught:
            wrong.add_values("contoso.com", "@", "TXT", ["x"], 60)
        assert str({**update, **change}["key_name"]) in str(caught.value)
        assert str({**update, **change}["secret"]) not in repr(caught.value)
    assert lab.counters.moved == 0


def test_a_lost_answer_leaves_it_in_doubt(lab: Stand) -> None:
    lab.faults.set({"kind": "drop", "match": "dns update", "times": 1})
    with pytest.raises(InDoubt):
        client(lab).add_values("contoso.com", "@", "TXT", ["x"], 60)
    assert "x" in client(lab).record_set("contoso.com", "@", "TXT").values
    lab.faults.set({"kind": "unavailable", "match": "dns update", "times": 1})
    with pytest.raises(InDoubt):
        client(lab).add_values("contoso.com", "@", "TXT", ["y"], 60)


def test_by_hand_hands_over_records_ready_to_paste(lab: Stand) -> None:
    hand = client(lab, provider="by_hand")
    assert hand.by_hand
    given = hand.replace("contoso.com", "@", "MX", [MICROSOFT], 3600, ["10 mail.contoso.com."])
    assert isinstance(given, Handover)
    assert given.kind == "dns"
    assert f"contoso.com. 3600 IN MX {MICROSOFT}\n" in given.text
    assert "; remove: contoso.com. IN MX 10 mail.contoso.com.\n" in given.text
    added = hand.add_values("contoso.com", "@", "TXT", ['say "hi"'], 60)
    assert isinstance(added, Handover)
    assert 'contoso.com. 3600 IN TXT "say \\034hi\\034"\n' in added.text
    assert "spf1" not in added.text
    assert lab.counters.moved == 0


def test_servers_are_found_by_ns_where_the_inventory_names_none() -> None:
    """A resolver that knows NS and A; the address it names has a server on port 53 only in the world outside."""
    with resolver({("contoso.com.", "NS"): ["ns2.contoso.com.", "ns1.contoso.com."],
                   ("ns1.contoso.com.", "A"): ["192.0.2.53"], ("ns2.contoso.com.", "A"): ["192.0.2.54"]}) as place:
        found = Site({"dns": {"resolvers": [place]}}, {}, World()).dns
        assert found._servers("contoso.com") == ("192.0.2.53", "192.0.2.54")
        with pytest.raises(Unreachable, match="no name server"):
            found.record_set("fabrikam.com", "@", "MX")


@contextmanager
def resolver(records: dict[tuple[str, str], list[str]]) -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)

        def serve() -> None:
            while True:
                try:
                    data, sender = sock.recvfrom(4096)
                except OSError:
                    return
                query = dns.message.from_wire(data)
                answer = dns.message.make_response(query, recursion_available=True)
                asked = query.question[0]
                kind = dns.rdatatype.to_text(asked.rdtype)
                values = records.get((asked.name.to_text(), kind))
                if values:
                    answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *values))
                sock.sendto(answer.to_wire(), sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{sock.getsockname()[1]}"
