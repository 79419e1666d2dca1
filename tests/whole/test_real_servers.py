"""The whole staged playbook with BIND and Postfix in place of the lab's DNS and SMTP, and once more.

The cloud is the lab's; what it needs to see of the source it reads from these servers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import dns.message
import dns.query
import pytest

from engine import app
from engine.lab import generate
from engine.rehearse import Rehearsal, organisation, rehearse
from engine.world import World
from tests.servers.bind import Bind, bind
from tests.servers.dns_worlds import zones
from tests.servers.postfix import Postfix, postfix
from tests.servers.process import HOST

pytestmark = [pytest.mark.slow, pytest.mark.server("bind"), pytest.mark.server("postfix")]


@dataclasses.dataclass
class Whole:
    """What is left when it is over; the servers still run."""

    result: Rehearsal
    mailboxes: list[str]
    domain: str
    name_servers: Bind
    outside: Postfix
    source: Postfix

    def shown(self, server: str, owner: str, kind: str) -> tuple[list[str], int]:
        """Values and TTL at one name server."""
        query = dns.message.make_query(owner, kind)
        answer = dns.query.tcp(query, HOST, 5, self.name_servers.ports[server])
        found = [rrset for rrset in answer.answer if rrset.rdtype == query.question[0].rdtype]
        return (sorted(each.to_text() for each in found[0]), found[0].ttl) if found else ([], 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder, work, dns_folder = (tmp_path_factory.mktemp(name) for name in ("migration", "work", "dns"))
    generate.write(generate.company(generate.Order("staged", 8, seed=1)), folder)
    world = World()
    migration = app.load(app.place(folder / "playbook.yml", None, folder / "state", world), {}, world)
    described = organisation(migration)
    domains = [str(row["domain"]) for row in described["rows"]["domains"]]
    with bind(dns_folder, zones(described), notify=True) as name_servers, \
            postfix(domains, doors=["submission"]) as outside, \
            postfix([*domains, described["tenant"]["domain"]], doors=["source"]) as source:
        real = {"dns": {"connection": name_servers.connection()}, "smtp": outside.outside("submission"),
                "source_smtp": source.outside("source")}
        result = rehearse(migration, seed=1, faults="none", kills=(), folder=work, extra_vars={}, screen=None,
                          world=world, outside=real)
        yield Whole(result, [str(row["address"]) for row in described["rows"]["mailboxes"]], domains[0],
                    name_servers, outside, source)


def test_it_comes_to_its_end_and_a_second_run_changes_nothing(whole: Whole) -> None:
    assert whole.result.exit_code == 0, (whole.result.last_words, whole.result.parked)
    assert whole.result.parked == []
    assert (whole.result.again_changed, whole.result.again_same, whole.result.twice) == (0, True, [])


@pytest.mark.requirement("B-14", "B-39", "B-41", "B-49")
def test_both_name_servers_show_the_cloud_and_the_ttl_as_before(whole: Whole) -> None:
    for server in ("primary", "secondary"):
        hosts, ttl = whole.shown(server, whole.domain, "MX")
        assert len(hosts) == 1 and hosts[0].endswith(".mx.microsoft."), hosts
        assert ttl == 86400
        assert whole.shown(server, f"autodiscover.{whole.domain}", "CNAME")[0] == ["autodiscover.outlook.com."]
        assert whole.shown(server, f"autodiscover.{whole.domain}", "A")[0] == []
        texts = whole.shown(server, whole.domain, "TXT")[0]
        assert any(text.startswith('"MS=ms') for text in texts) and '"v=spf1 mx -all"' in texts


@pytest.mark.requirement("B-43")
def test_every_proof_was_a_letter_that_a_real_server_took(whole: Whole) -> None:
    proofs = [letter for letter in whole.source.letters() if "mailmove.probe.forwarding." in str(letter["Message-ID"])]
    assert sorted(str(letter["To"]) for letter in proofs) == sorted(whole.mailboxes)
    assert any("mailmove.probe.routing." in str(letter["Message-ID"]) for letter in whole.outside.letters())
