"""Section 6 of the requirements: for each contradiction of the pages one rule, told on one page and by the product."""

from __future__ import annotations

import re

import pytest

from tests.requirements.evidence import ROOT

PAGE = (ROOT / "docs" / "contradictions.md").read_text(encoding="utf-8")
#: By its number: a file of the product, and the words a person reads there.
SAID = {
    1: ("engine/checks/method.py", 'both \\"fewer than 2,000\\" and \\"up to 2,000\\"'),
    2: ("engine/connections/csv_sheet.py", "the comma of an empty value stays"),
    3: ("engine/language/order.py", '"C-22", "mail would arrive in mailboxes that may be disabled"'),
    4: ("engine/modules/autodiscover_uri.py", "AutoDiscoverServiceInternalUri"),
    5: ("engine/run/guards/batches.py", "is not converted yet (S-34 b)"),
    6: ("engine/connections/migration_objects.py", '"created": ("Created", "Stopping", "Stopped"'),
    7: ("engine/modules/migration_batch.py", "only, beginning with a letter or digit, at most 64"),
    8: ("engine/modules/mailbox_rights.py", "FullAccess on the mailbox, or Receive As on its database"),
    9: ("engine/connections/graph.py", "not verified yet: "),
    10: ("engine/checks/method.py", "Exchange 2003: the pages of both methods name it"),
}


@pytest.mark.parametrize("number", SAID)
def test_the_product_says_its_rule_where_the_pages_contradict_themselves(number: int) -> None:
    file, words = SAID[number]
    assert words in (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^\| {number} \|", PAGE, re.MULTILINE)


def test_the_page_has_no_other_row() -> None:
    assert re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE) == [str(number) for number in SAID]
