"""The tasks on DNS, from the proof of ownership to Autodiscover, at BIND: with a secondary that lags at every step.

The tenant is the lab's, and sees of the zone what BIND shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.contract import Denied, Rejected, Unreachable, Waiting
from engine.modules.autodiscover import Autodiscover
from engine.modules.dns_record import DnsRecord
from engine.modules.mx_switch import MxSwitch
from engine.modules.mx_ttl import MxTtl
from engine.modules.tenant_domain import TenantDomain
from tests.modules.lab_cloud import DOMAIN, Lab, description, running
from tests.servers.bind import Bind, bind
from tests.servers.dns_worlds import zones

pytestmark = pytest.mark.server("bind")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    with bind(tmp_path_factory.mktemp("bind"), zones(description("staged"))) as made:
        yield made


@pytest.fixture(scope="module")
def lab(names: Bind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    described = {**description("staged"), "outside": {"dns": {"connection": names.connection()}}}
    with running("staged", tmp_path_factory.mktemp("lab"), described=described) as found:
        yield found


def acted(lab: Lab, names: Bind, module: DnsRecord | MxTtl | MxSwitch | Autodiscover) -> None:
    """One act: while the secondary lags it is under way, and it is done when both servers show it."""
    lab.act(module)
    state = lab.read(module)
    diff = module.difference(state)
    assert diff is not None and isinstance(module.outlook(state, diff), Waiting), state
    assert names.place("secondary") in module.outlook(state, diff).reason  # type: ignore[union-attr]
    names.catch_up()
    assert module.difference(lab.read(module)) is None
    with pytest.raises(AssertionError, match="nothing to do"):
        lab.act(module)


@pytest.mark.requirement("B-14", "B-16", "B-17")
def test_1_the_domain_is_verified_only_when_both_servers_show_the_proof(lab: Lab, names: Bind) -> None:
    lab.act(TenantDomain(domain=DOMAIN, state="present"))
    domain = lab.settled(TenantDomain(domain=DOMAIN, state="present"), within=3600)
    assert domain is not None
    proof = DnsRecord(zone=DOMAIN, type="TXT", includes=(str(domain["verification_txt"]),))
    before = lab.read(proof)
    assert before is not None
    lab.act(proof)
    with pytest.raises(Unreachable, match="not verified yet"):  # the secondary does not show it yet
        lab.act(TenantDomain(domain=DOMAIN))
    names.catch_up()
    after = lab.read(proof)
    assert after is not None and proof.difference(after) is None
    assert set(after["values"]) == {*before["values"], str(domain["verification_txt"])}  # type: ignore[arg-type, misc]
    lab.act(TenantDomain(domain=DOMAIN))
    lab.settled(TenantDomain(domain=DOMAIN), within=3600)
    assert lab.site.dns.record_set(DOMAIN, "@", "MX").values == ("10 mail.contoso.com.",)
    assert lab.site.dns.record_set(DOMAIN, "autodiscover", "A").values == ("192.0.2.10",)


@pytest.mark.requirement("B-36")
def test_2_the_ttl_is_lowered_and_the_values_stay(lab: Lab, names: Bind) -> None:
    ttl = MxTtl(domain=DOMAIN, zone=DOMAIN, at_most=3600)
    before = lab.read(ttl)
    assert before is not None and before["ttl"] == 86400
    lab.act(ttl)
    under_way = lab.read(ttl)
    assert under_way is not None and under_way["ttl"] == 86400  # the greatest any server shows counts
    names.catch_up()
    after = lab.read(ttl)
    assert after is not None and (after["ttl"], after["values"]) == (3600, before["values"])


def test_3_spf_is_owned_whole_and_two_policies_are_refused(lab: Lab, names: Bind) -> None:
    second = DnsRecord(zone=DOMAIN, type="TXT", includes=("v=spf1 include:spf.protection.outlook.com -all",))
    with pytest.raises(Rejected, match="two SPF policies"):
        lab.act(second)
    own = DnsRecord(zone=DOMAIN, name="news", type="TXT", values=("v=spf1 include:spf.protection.outlook.com -all",))
    acted(lab, names, own)


@pytest.mark.requirement("B-37", "B-41")
def test_4_mx_is_what_the_tenant_demands_and_nothing_else(lab: Lab, names: Bind) -> None:
    switch = MxSwitch(domain=DOMAIN, zone=DOMAIN)
    before = lab.read(switch)
    assert before is not None and before["values"] == ("10 mail.contoso.com.",)
    acted(lab, names, switch)
    state = lab.read(switch)
    assert state is not None and state["values"] == state["service_values"] and state["ttl"] == 3600
    with pytest.raises(Rejected, match="changed meanwhile"):
        switch.apply(lab.site, switch.difference(before))  # type: ignore[arg-type]


def test_5_a_mail_host_without_an_address_is_refused_by_the_server(lab: Lab) -> None:
    with pytest.raises(Denied, match="REFUSED") as caught:
        lab.act(DnsRecord(zone=DOMAIN, name="lost", type="MX", values=("10 nowhere.contoso.com.",)))
    assert "address" in caught.value.remedy


@pytest.mark.requirement("B-49", "B-50")
def test_6_autodiscover_is_an_alias_and_nothing_stands_beside_it(lab: Lab, names: Bind) -> None:
    discover = Autodiscover(domain=DOMAIN, zone=DOMAIN)
    before = lab.read(discover)
    assert before is not None and before["others"] == ("autodiscover 3600 A 192.0.2.10",)
    acted(lab, names, discover)
    after = lab.read(discover)
    assert after is not None and (after["values"], after["others"]) == (("autodiscover.outlook.com.",), ())


@pytest.mark.requirement("B-39")
def test_7_the_ttl_is_raised_again(lab: Lab, names: Bind) -> None:
    acted(lab, names, MxTtl(domain=DOMAIN, zone=DOMAIN, seconds=86400))
