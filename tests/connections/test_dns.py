"""The DNS client and the lab's faults. What holds for any server: tests/servers/test_dns_client.py."""

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
from engine.connections.dns import Dns
from engine.contract import Fault, Handover, InDoubt, Unreachable
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


def test_what_cannot_be_told_is_unknown_and_never_absent(lab: Stand) -> None:
    lab.faults.set({"kind": "unavailable", "match": "dns query", "times": 20})
    with pytest.raises(Unreachable, match="SERVFAIL"):
        client(lab).record_set("contoso.com", "@", "MX")


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
        assert found.servers.of("contoso.com") == ("192.0.2.53", "192.0.2.54")
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
