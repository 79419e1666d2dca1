"""The whole staged playbook with BIND, Samba and Postfix in place of the lab's DNS, LDAP and SMTP, and once more.

The cloud is the lab's; what it needs to see of the source it reads from these servers.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Iterator

import dns.message
import dns.query
import ldap3
import pytest

from engine import app
from engine.lab import generate
from engine.lab.organisation import Organisation
from engine.rehearse import Rehearsal, organisation, rehearse
from engine.world import World
from tests.servers import samba
from tests.servers.bind import Bind, bind
from tests.servers.dns_worlds import zones
from tests.servers.postfix import Postfix, postfix
from tests.servers.process import HOST

pytestmark = [pytest.mark.slow, *(pytest.mark.server(name) for name in ("bind", "samba", "postfix"))]


@dataclasses.dataclass
class Whole:
    """What is left when it is over; the servers still run."""

    result: Rehearsal
    mailboxes: list[str]
    domain: str
    name_servers: Bind
    outside: Postfix
    source: Postfix
    directory: samba.DomainController
    before: Organisation

    def people(self) -> dict[str, dict[str, list[bytes]]]:
        """What stands in the directory, by address, asked with the administrator's eyes."""
        given = self.directory.administrator
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=given["ca_file"])
        server = ldap3.Server(given["host"], given["port"], use_ssl=True, tls=tls, get_info=ldap3.NONE)
        line = ldap3.Connection(server, given["user"], given["password"], auto_bind=True, check_names=False,
                                auto_referrals=False, return_empty_attributes=False)
        line.search(f"OU=People,{self.directory.base}", "(&(objectClass=user)(mail=*))", attributes=["*"])
        return {entry["raw_attributes"]["mail"][0].decode(): entry["raw_attributes"] for entry in line.response
                if entry["type"] == "searchResEntry"}

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
    before = samba.organisation_of(described, seed=1)
    with bind(dns_folder, zones(described), notify=True) as name_servers, \
            samba.domain_controller(before, tmp_path_factory.mktemp("directory")) as directory, \
            postfix(domains, doors=["submission"]) as outside, \
            postfix([*domains, described["tenant"]["domain"]], doors=["source"]) as source:
        real_directory = directory.outside()
        # the desk's shell is the lab's: on a real directory mailmove converts by itself
        real_directory["directory"]["connection"]["conversion"] = "ldap"
        real = {**real_directory, "dns": {"connection": name_servers.connection()},
                "smtp": outside.outside("submission"), "source_smtp": source.outside("source")}
        result = rehearse(migration, seed=1, faults="none", kills=(), folder=work, extra_vars={}, screen=None,
                          world=world, outside=real)
        yield Whole(result, [str(row["address"]) for row in described["rows"]["mailboxes"]], domains[0],
                    name_servers, outside, source, directory, before)


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
        assert any(text.startswith('"MS=ms') for text in texts) and any(text.startswith('"v=spf1 ') for text in texts)


@pytest.mark.requirement("S-27", "S-29", "S-31")
def test_every_mailbox_is_a_mail_user_of_the_directory_that_points_to_the_cloud(whole: Whole) -> None:
    after = whole.people()
    assert sorted(after) == sorted(whole.before.mailboxes) == sorted(whole.mailboxes)
    for address, values in after.items():
        was = whole.before.mailboxes[address].entry.attributes
        assert "homeMDB" not in values, address
        assert values["targetAddress"][0].lower().endswith(b"contoso.onmicrosoft.com")
        assert set(was["proxyAddresses"]) < set(values["proxyAddresses"])
        assert (values["mail"], values["legacyExchangeDN"]) == (list(was["mail"]), list(was["legacyExchangeDN"]))


@pytest.mark.requirement("B-43")
def test_every_proof_was_a_letter_that_a_real_server_took(whole: Whole) -> None:
    proofs = [letter for letter in whole.source.letters() if "mailmove.probe.forwarding." in str(letter["Message-ID"])]
    assert sorted(str(letter["To"]) for letter in proofs) == sorted(whole.mailboxes)
    assert any("mailmove.probe.routing." in str(letter["Message-ID"]) for letter in whole.outside.letters())
