"""Zones kept through a DNS host's web API: dns-lexicon against PowerDNS, what was written read by DNS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from engine.connections import Site
from engine.connections.dns import Dns, Edit
from engine.connections.dns_provider import ALIASES_BENT, MADE_ANEW, PREFERENCE_APART
from engine.connections.secrets import Secret
from engine.contract import Denied, Handover, Rejected, Unreachable
from engine.world import World
from tests.servers.dns_worlds import zones
from tests.servers.powerdns import KEY, PowerDns, powerdns

MICROSOFT = "0 contoso-com.k-v1.mx.microsoft."
SOURCE = "10 mail.contoso.com."
pytestmark = pytest.mark.server("powerdns")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PowerDns]:
    with powerdns(tmp_path, zones()) as made:
        yield made


def client(server: PowerDns, key: str = KEY, **changes: Any) -> Dns:
    settings = {**server.connection(Secret("env", "DNS_TOKEN")), **changes}
    return Site({"dns": settings}, {"migration": "test"}, World(environment={"DNS_TOKEN": key})).dns


def values(server: PowerDns, owner: str, kind: str) -> tuple[str, ...]:
    return client(server).record_set("contoso.com", owner, kind).values


@pytest.mark.requirement("B-14")
def test_the_proof_of_ownership_stands_beside_foreign_records(server: PowerDns) -> None:
    before = client(server).record_set("contoso.com", "@", "TXT")
    assert client(server).add_values("contoso.com", "@", "TXT", ["MS=ms12345678"], 60) is None
    after = client(server).record_set("contoso.com", "@", "TXT")
    assert (set(after.values), after.ttl) == ({*before.values, "MS=ms12345678"}, before.ttl)
    assert client(server).add_values("contoso.com", "@", "TXT", ["MS=ms12345678"], 60) is None
    client(server).remove_values("contoso.com", "@", "TXT", ["MS=ms12345678"])
    assert client(server).record_set("contoso.com", "@", "TXT").values == before.values


def test_a_new_set_has_the_ttl_that_was_asked_for(server: PowerDns) -> None:
    client(server).replace("contoso.com", "_sip._tls", "SRV", ["100 1 443 sipdir.online.lync.com."], 1200, ())
    found = client(server).record_set("contoso.com", "_sip._tls", "SRV")
    assert (found.values, found.ttl) == (("100 1 443 sipdir.online.lync.com.",), 1200)


@pytest.mark.requirement("B-37", "B-41")
def test_mx_is_switched_value_by_value_and_the_ttl_stays(server: PowerDns) -> None:
    server.put("contoso.com", "contoso.com.", "MX", 3600, ["10 mail.contoso.com.", "20 backup.contoso.com."])
    held = values(server, "@", "MX")
    assert client(server).replace("contoso.com", "@", "MX", [MICROSOFT], 3600, held) is None
    found = client(server).record_set("contoso.com", "@", "MX")
    assert (found.values, found.ttl) == ((MICROSOFT,), 3600)
    with pytest.raises(Rejected, match="changed meanwhile"):
        client(server).replace("contoso.com", "@", "MX", [SOURCE], 3600, held)
    client(server).replace("contoso.com", "@", "MX", [SOURCE], 3600, [MICROSOFT])
    assert values(server, "@", "MX") == (SOURCE,)


@pytest.mark.requirement("B-36")
def test_a_ttl_that_cannot_be_changed_in_place_is_handed_over_and_settled_by_reading(server: PowerDns) -> None:
    given = client(server).replace("contoso.com", "@", "MX", [SOURCE], 3600, [SOURCE])
    assert isinstance(given, Handover)
    assert given.text == "; Zone contoso.com\ncontoso.com. 3600 IN MX 10 mail.contoso.com.\n"
    assert client(server).record_set("contoso.com", "@", "MX").ttl == 86400
    server.put("contoso.com", "contoso.com.", "MX", 3600, ["10 mail.contoso.com."])
    assert client(server).record_set("contoso.com", "@", "MX").ttl == 3600
    assert client(server).replace("contoso.com", "@", "MX", [SOURCE], 3600, [SOURCE]) is None


@pytest.mark.requirement("B-49")
def test_an_alias_is_handed_over_whole_as_the_library_would_bend_its_target(server: PowerDns) -> None:
    """It writes autodiscover.outlook.com.contoso.com (its issue 862); the address stays until a person acts."""
    held = values(server, "autodiscover", "A")
    given = client(server).update("contoso.com", [
        Edit("autodiscover", "A", (), 0, held),
        Edit("autodiscover", "CNAME", ("autodiscover.outlook.com.",), 3600, ())])
    assert isinstance(given, Handover)
    assert given.text == ("; Zone contoso.com\n; remove: autodiscover.contoso.com. IN A 192.0.2.10\n"
                          "autodiscover.contoso.com. 3600 IN CNAME autodiscover.outlook.com.\n")
    assert values(server, "autodiscover", "A") == held
    server.put("contoso.com", "autodiscover.contoso.com.", "A", 3600, [])
    server.put("contoso.com", "autodiscover.contoso.com.", "CNAME", 3600, ["autodiscover.outlook.com."])
    assert values(server, "autodiscover", "CNAME") == ("autodiscover.outlook.com.",)


def test_a_wrong_token_is_denied_and_never_shown(server: PowerDns) -> None:
    with pytest.raises(Denied) as caught:
        client(server, key="wrong-token-of-the-test").add_values("contoso.com", "@", "TXT", ["x"], 60)
    assert caught.value.code == "401"
    assert "wrong-token-of-the-test" not in repr(caught.value) + caught.value.remedy


def test_a_zone_the_host_does_not_keep_is_refused_by_name(server: PowerDns) -> None:
    with pytest.raises(Rejected, match=r"fabrikam\.example"):
        client(server).add_values("fabrikam.example", "@", "TXT", ["x"], 60)


def test_what_the_host_refuses_is_told_in_its_own_words(server: PowerDns) -> None:
    server.put("contoso.com", "www.contoso.com.", "CNAME", 60, ["mail.contoso.com."])
    with pytest.raises(Rejected) as caught:
        client(server).replace("contoso.com", "www", "A", ["192.0.2.1"], 60, ())
    assert caught.value.code == "422"
    assert "Conflicts with pre-existing RRset" in caught.value.text
    assert values(server, "www", "CNAME") == ("mail.contoso.com.",)


def test_a_host_that_is_away_is_unreachable_and_nothing_is_in_doubt(server: PowerDns) -> None:
    server.process.stop()
    with pytest.raises(Unreachable):
        client(server).add_values("contoso.com", "@", "TXT", ["x"], 60)


def test_an_unknown_host_is_named() -> None:
    settings = {"provider": "lexicon", "api": "nobody", "servers": {"contoso.com": ["127.0.0.1:1"]}}
    with pytest.raises(Rejected, match="nobody") as caught:
        Site({"dns": settings}, {}, World()).dns.add_values("contoso.com", "@", "TXT", ["x"], 60)
    assert "dns.api" in caught.value.remedy


def test_what_is_known_of_the_hosts_is_what_the_installed_library_does() -> None:
    """Three tables are taken from the library's own code; a new release may add a host to each, or mend it."""
    spec = find_spec("lexicon._private.providers")
    assert spec is not None and spec.submodule_search_locations
    apart, anew, bent = set(), set(), set()
    for path in Path(spec.submodule_search_locations[0]).glob("*.py"):
        text = path.read_text()
        if re.search(r"_get_lexicon_option\(.priority.\)", text):
            apart.add(path.stem)
        body = re.search(r"\n    def update_record\(.*?(?=\n    def |\Z)", text, re.DOTALL)
        if body and re.search(r"self\._?(delete|create)_record\(", body.group()):
            anew.add(path.stem)
        if "self._fqdn_name(content)" in text:
            bent.add(path.stem)
    assert (apart, anew, bent) == (PREFERENCE_APART, MADE_ANEW, ALIASES_BENT)
