"""The pages with hostile words in a real browser: nothing runs, nothing is asked for, nothing but ours stands there."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest

from engine.contract import CalendarEntry, Finding, Plan, PlanGroup, Problem
from engine.dossier import plan_html
from tests.hostile import fields
from tests.hostile.browser import Listener, opened
from tests.hostile.strings import BEACON, hostile

#: What our pages are made of; a browser puts `tbody` into every table.
ELEMENTS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "pre", "table", "tbody", "tr", "th",
            "td"}
ATTRIBUTES = {("html", "lang"), ("meta", "charset"), ("meta", "content"), ("meta", "http-equiv"), ("meta", "name"),
              ("p", "class"), ("td", "class"), ("th", "style")}
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

pytestmark = pytest.mark.server("chromium")


def plan_page(strings: list[str]) -> str:
    tasks = [{"name": each, "play": each, "kind": each, "module": each, "mark": each, "rows": 1} for each in strings]
    groups = [PlanGroup(number, "change", 1, each, (each,), (each,), "none", each, sample=each)
              for number, each in enumerate(strings)]
    findings = [Finding(each, "warn", each, each, (each,), 2) for each in strings]
    return plan_html(Plan(strings[0], strings[1], datetime(2026, 3, 2, tzinfo=UTC), strings[2], tasks, groups, [
        CalendarEntry(each, None, each) for each in strings], [Problem(each, None, each, each) for each in strings],
                          findings, rows=[{"task": 0, "row": each, "word": each, "text": each} for each in strings]))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The dossier, and in the same page below it the plan: one start of the browser serves both."""
    folder = tmp_path_factory.mktemp("pages")
    strings = [each for each in hostile() if len(each) < 2000]
    fields.journal(folder / "acme", strings, rows=1)
    dossier = (folder / "acme" / "dossier.html").read_text(encoding="utf-8").removesuffix("</body></html>\n")
    return dossier + plan_page(strings).partition("<body>")[2]


def test_nothing_runs_and_nothing_is_asked_for(pages: str, tmp_path: Path) -> None:
    with Listener() as listener:
        page = tmp_path / "page.html"
        page.write_text(pages.replace(BEACON, listener.url), encoding="utf-8")
        seen = opened(page)
    assert listener.noted == []
    assert seen.title.startswith("Migration ") and "Pwned" not in seen.title
    assert set(seen.elements) == ELEMENTS and seen.attributes <= ATTRIBUTES
    assert seen.elements["title"] == seen.elements["body"] == 1


def test_a_page_that_does_not_escape_is_found(pages: str, tmp_path: Path) -> None:
    with Listener() as listener:
        page = tmp_path / "page.html"
        page.write_text(POLICY.sub("", unescape(pages)).replace(BEACON, listener.url), errors="replace")
        seen = opened(page)
    assert listener.noted and "Pwned" in seen.title and {"script", "svg"} <= set(seen.elements)


def test_the_policy_alone_already_keeps_it_from_running(pages: str, tmp_path: Path) -> None:
    with Listener() as listener:
        page = tmp_path / "page.html"
        page.write_text(unescape(pages).replace(BEACON, listener.url), errors="replace")
        seen = opened(page)
    assert listener.noted == [] and not seen.title.startswith("Pwned") and "script" in seen.elements
