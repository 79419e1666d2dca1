"""What a plan says beside a change: a tenant that asks for something else than the page, a right that is missing."""

from __future__ import annotations

import pytest

from engine.modules.autodiscover import Autodiscover
from engine.modules.forwarding import Forwarding


@pytest.mark.requirement("B-49")
def test_the_tenant_s_own_target_counts_and_a_difference_from_the_page_is_told() -> None:
    record = Autodiscover(domain="contoso.com", zone="contoso.com")
    state = {"ttl": 60, "values": ("mail.contoso.com.",), "agree": True, "others": ()}
    assert record.remark(state | {"service_values": ("autodiscover.outlook.com.",)}) == ""
    assert record.remark(state | {"service_values": None}) == "" == record.remark(None)
    assert record.remark(state | {"service_values": ("autodiscover-s.office365.us.",)}) == (
        "the tenant asks for autodiscover-s.office365.us., Microsoft's page names autodiscover.outlook.com.")


@pytest.mark.requirement("S-26")
def test_a_batch_that_could_not_set_target_address_is_told_with_the_right_it_lacks() -> None:
    forwarding = Forwarding(address="anna@contoso.com", target_address="anna@contoso.onmicrosoft.com")
    assert forwarding.remark({"target_address": None, "dn": "x"}).endswith("lacks WriteProperty on it (S-04)")
    assert forwarding.remark({"target_address": "SMTP:anna@contoso.onmicrosoft.com", "dn": "x"}) == ""
