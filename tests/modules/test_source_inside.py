"""What the company's own network sees of Autodiscover, beside the public record: two views of one name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.connections import Site
from engine.contract import Handover
from engine.laboratory import Workplace
from engine.modules.autodiscover import Autodiscover
from engine.modules.autodiscover_inside import AutodiscoverInside
from tests.modules.lab_cloud import DOMAIN, Lab
from tests.modules.lab_source import own, source

SECOND, THIRD = "fabrikam.com", "adatum.com"
INSIDE = AutodiscoverInside(domain=DOMAIN, zone=DOMAIN)


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three domains: clients find the source by an address, an alias, and an SRV record. All are verified."""
    rows = {"domains": [{"domain": name, "zone": name} for name in (DOMAIN, SECOND, THIRD)]}
    with source(tmp_path_factory.mktemp("inside"), "2010", "cutover", rows=rows) as found:
        own(found, DOMAIN, SECOND, THIRD)
        yield found


@pytest.mark.requirement("C-20", "C-31")
def test_both_views_are_moved_and_each_by_itself(lab: Lab) -> None:
    public = Autodiscover(domain=DOMAIN, zone=DOMAIN)
    lab.act(public)
    lab.settled(public, within=7200)
    before = lab.read(INSIDE)
    assert before is not None and before["values"] == ()
    [line] = before["others"]  # type: ignore[misc]
    assert str(line).startswith("autodiscover 3600 A 10.")
    lab.act(INSIDE)
    found = lab.settled(INSIDE)
    assert found is not None and (found["values"], found["others"]) == (("autodiscover.outlook.com.",), ())
    assert public.difference(lab.read(public)) is None
    effects = lab.control("/counters")["effects"]
    assert effects[f"dns inside/{DOMAIN}/autodiscover/A delete"] == effects[f"dns/{DOMAIN}/autodiscover/A delete"] == 1


@pytest.mark.requirement("C-31")
def test_an_alias_and_an_srv_record_go_as_well(lab: Lab) -> None:
    for name, others, values in ((SECOND, (), ("mail.contoso.com.",)),
                                 (THIRD, ("_autodiscover._tcp 3600 SRV 0 0 443 mail.contoso.com.",), ())):
        for module in (Autodiscover(domain=name, zone=name), AutodiscoverInside(domain=name, zone=name)):
            before = lab.read(module)
            assert before is not None
            assert tuple(each for each in before["others"] if " SRV " in str(each)) == others  # type: ignore[union-attr]
            assert before["values"] == values
            lab.act(module)
            found = lab.settled(module, within=7200)
            assert found is not None and (found["values"], found["others"]) == (("autodiscover.outlook.com.",), ())


@pytest.mark.requirement("C-20")
def test_by_hand_the_lines_for_windows_stand_beside_and_the_record_is_entered_inside(lab: Lab) -> None:
    by_hand = {**lab.ready["connections"]["internal_dns"], "provider": "by_hand"}
    site = Site({**lab.ready["connections"], "internal_dns": by_hand}, lab.site.settings, lab.site.world)
    state = AutodiscoverInside.read_many(site, [INSIDE])[INSIDE.key()]
    diff = INSIDE.difference(state)  # type: ignore[arg-type]
    assert diff is not None
    handed = INSIDE.apply(site, diff)
    assert isinstance(handed, Handover) and handed.kind == "internal_dns"
    assert ("; Windows: Remove-DnsServerResourceRecord -ZoneName 'contoso.com' -Name 'autodiscover' -RRType A -Force\n"
            "; Windows: Add-DnsServerResourceRecordCName -ZoneName 'contoso.com' -Name 'autodiscover' -HostNameAlias "
            "'autodiscover.outlook.com.'\n") in handed.text
    Workplace(lab, {}).enter_records(handed.text, handed.kind)  # type: ignore[arg-type]
    public = lab.read(Autodiscover(domain=DOMAIN, zone=DOMAIN))
    assert public is not None and public["values"] == ()
    inside = lab.read(INSIDE)
    assert inside is not None and inside["values"] == ("autodiscover.outlook.com.",)
