"""The DNS client against BIND 9: what a real primary, secondary, resolver and internal view do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.connections import Site
from engine.connections.dns import Dns
from engine.world import World
from tests.servers.bind import Bind, bind

pytestmark = pytest.mark.server("bind")

ZONE = [("@", 3600, "SOA", ["ns1 hostmaster 1 7200 900 1209600 300"]), ("@", 86400, "NS", ["ns1", "ns2"]),
        ("ns1", 86400, "A", ["192.0.2.53"]), ("ns2", 86400, "A", ["192.0.2.54"]),
        ("@", 86400, "MX", ["10 mail"]), ("mail", 3600, "A", ["192.0.2.10"])]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    with bind(tmp_path_factory.mktemp("bind"), {"contoso.com": ZONE}) as made:
        yield made


def client(server: Bind) -> Dns:
    return Site({"dns": server.connection()}, {"migration": "test"}, World()).dns


@pytest.mark.requirement("B-36")
def test_a_change_counts_only_when_the_lagging_secondary_has_it(server: Bind) -> None:
    before = client(server).record_set("contoso.com", "@", "MX").values
    client(server).replace("contoso.com", "@", "MX", before, 3600, before)
    found = client(server).record_set("contoso.com", "@", "MX")
    assert (found.agree, found.lagging, found.ttl) == (False, (server.place("secondary"),), 86400)
    server.catch_up()
    found = client(server).record_set("contoso.com", "@", "MX")
    assert (found.agree, found.ttl) == (True, 3600)
