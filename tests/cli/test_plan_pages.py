"""The plan as text, JSON and HTML, for a plan of 4,300 mailboxes with names that would like to break out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine import plan_file
from engine.contract import CalendarEntry, ExitCode, Finding, Plan, PlanGroup, Refusal
from engine.dossier import dossier_html, plan_html
from engine.report import COLUMNS, PLAN_LINES_MAX, plan_text
from engine.screen import as_json

EVIL = "<script>alert(1)</script>\x1b[2J\u202e@contoso.com"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WORDS = ("create", "change", "send", "asks", "hands", "waits", "same", "skipped", "unknown")


def plan(plays: int = 12, tasks: int = 6) -> Plan:
    names = [{"name": f"Task {play}.{task} of a migration with a rather long name", "play": f"Play {play}",
              "kind": "mailboxes", "module": "licence", "mark": "p.yml:1:1", "rows": 4300}
             for play in range(plays) for task in range(tasks)]
    groups = [PlanGroup(index, WORDS[(index + offset) % len(WORDS)], 4300, "assigned: none → ENTERPRISEPACK, " * 6,
                        (EVIL, "ben@contoso.com")) for index in range(len(names)) for offset in range(3)]
    groups += [PlanGroup(index, "later", 4300, "known after «Task 0.0»") for index in range(len(names))]
    groups.append(PlanGroup(3, "change", 3, "values: 10 mail.contoso.com. → 0 contoso-com.mail.protection.outlook.com.",
                            ("contoso.com",), ("everybody_is_in_the_cloud: passes",), "restore"))
    groups.append(PlanGroup(5, "delete", 1, "will be removed", ("Batch01",), (), "none"))
    calendar = [CalendarEntry("window change_window for «MX»", NOW + timedelta(days=day)) for day in range(20)]
    return Plan("contoso", "playbooks/staged.yml", NOW, "ab" * 16, names, groups, calendar,
                counts={"change": 4303, "create": 1}, tokens={b"0" * 16, b"1" * 16}, order=range(len(names)))


def test_4300_mailboxes_fit_a_hundred_lines_of_a_hundred_columns() -> None:
    lines = list(plan_text(plan()))
    assert len(lines) <= PLAN_LINES_MAX
    assert max(map(len, lines)) <= COLUMNS
    assert any("more lines: --format html shows all" in line for line in lines)


def test_guarded_and_irreversible_acts_come_first_and_are_never_cut() -> None:
    text = "\n".join(plan_text(plan()))
    assert text.index("Guarded, or cannot be taken back") < text.index("Play 0")
    assert "guard: everybody_is_in_the_cloud: passes" in text
    assert text.index("will be removed") < text.index("Play 0")
    assert "10 mail.contoso.com. → 0 contoso-com.mail.protection.outlook.com." in text


def test_a_small_plan_shows_before_and_after_on_one_line() -> None:
    small = Plan("contoso", "p.yml", NOW, "ab", [{"name": "Clients find the cloud", "play": "Clients"}],
                 [PlanGroup(0, "change", 1, "values: mail.contoso.com. → autodiscover.outlook.com.", ("contoso.com",))],
                 counts={"change": 1})
    assert any("mail.contoso.com. → autodiscover.outlook.com." in line for line in plan_text(small))
    assert list(plan_text(small))[-1] == "1 to change."


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onclick", "onload"}


@pytest.mark.parametrize("page", [
    plan_html(plan()),
    dossier_html("contoso", NOW, {"tasks": [{"name": EVIL}], "parked": [{"row": EVIL}]},
                 [{"kind": "approved", "row": EVIL, "body": {"by": EVIL}}]),
], ids=["plan", "dossier"])
def test_html_pages_hold_no_script_and_reach_nothing(page: str) -> None:
    assert Tags(page).found <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "th", "td"}
    assert "default-src 'none'" in page
    assert "\x1b" not in page and "\u202e" not in page
    assert "&lt;script&gt;" in page


def test_a_kept_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "friday.json"
    whole = plan(2, 2)
    kept.write_text(as_json(plan_file.as_mapping(whole, Path("p.yml"), Path("i.yml"), {"a": "b"})))
    assert plan_file.is_plan_file(kept)
    found = plan_file.read(kept)
    assert found.plan.tokens == whole.tokens
    assert found.plan.groups == whole.groups
    assert found.plan.made_at == whole.made_at
    assert found.playbook == Path("p.yml").resolve()
    assert found.extra_vars == {"a": "b"}


def warned() -> Plan:
    found = plan()
    found.findings = [
        Finding("mailbox_count", "refuse", "2,001 mailboxes at the source", "Choose staged.", (EVIL, "b@c.com"), 2001),
        Finding("seats", "warn", "6 needed, 2 free", told=False)]
    return found


def test_findings_lead_every_form_of_the_plan_and_come_back_from_its_file(tmp_path: Path) -> None:
    whole = warned()
    lines = list(plan_text(whole))
    assert lines[3] == "Preflight" and lines[4].startswith("  REFUSES  mailbox_count: 2,001 mailboxes at the source (")
    page = plan_html(whole)
    assert page.index("Preflight") < page.index("Guarded, or cannot be taken back")
    assert "\x1b" not in page and "<script>" not in page
    kept = tmp_path / "friday.json"
    kept.write_text(as_json(plan_file.as_mapping(whole, Path("p.yml"), Path("i.yml"), {})))
    assert json.loads(kept.read_text())["findings"][0]["count"] == 2001
    assert plan_file.read(kept).plan.findings == whole.findings


def test_many_findings_do_not_push_the_plan_off_its_page_and_refusals_are_never_cut() -> None:
    whole = plan()
    whole.findings = [Finding(f"check{n}", "refuse" if n < 8 else "warn", "x " * 90, "y " * 40) for n in range(40)]
    lines = list(plan_text(whole))
    assert len(lines) <= PLAN_LINES_MAX + 8
    assert sum(line.startswith("  REFUSES") for line in lines) == 8
    assert any("more: mailmove doctor shows all" in line for line in lines)


def test_a_plan_of_another_form_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "old.json"
    kept.write_text(json.dumps({"form": "mailmove plan 0"}))
    with pytest.raises(Refusal) as refused:
        plan_file.read(kept)
    assert refused.value.exit_code == ExitCode.STALE
