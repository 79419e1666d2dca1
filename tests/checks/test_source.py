"""What the source's directory says before anything is begun: the account, the rows, what stays behind, mail domains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.checks.scene import scene


@pytest.mark.requirement("B-06")
@pytest.mark.parametrize(("state", "severity", "says"), [
    ({"disabled": True}, "refuse", "CONTOSO\\migration is disabled"),
    ({"locked": True}, "refuse", "CONTOSO\\migration is locked"),
    ({"password_age_days": 50, "password_days_max": 42}, "refuse", "its password expired on 2026-10-25"),
    ({"expires_in_days": 10}, "warn", "the account expires on 2026-11-12, before 2026-12-02"),
    ({"password_age_days": 30, "password_days_max": 42}, "warn", "its password expires on 2026-11-14"),
    ({"password_age_days": 500}, "", "")], ids=lambda each: str(each)[:24])
def test_the_account_is_enabled_unlocked_and_its_password_lasts(tmp_path: Path, state: dict[str, Any], severity: str,
                                                                says: str) -> None:
    with scene(tmp_path, "staged", description={"account": state}) as found:
        told = found.findings().get("source_account", [])
        assert [each["severity"] for each in told] == ([severity] if severity else [])
        assert not told or says in told[0]["text"]


@pytest.mark.requirement("B-06")
def test_passwords_that_the_domain_does_not_compute_are_reckoned_and_the_planned_end_counts(tmp_path: Path) -> None:
    """Domains of the time of Exchange 2003 have no computed attributes: pwdLastSet and maxPwdAge tell."""
    with scene(tmp_path, "staged", exchange="2003", description={
            "account": {"password_age_days": 1, "password_days_max": 90}}) as found:
        assert "source_account" not in found.findings()
        found.inventory(planned_end="2027-02-15")
        [warned] = found.findings()["source_account"]
        assert "its password expires on 2027-01-30, before the planned end 2027-02-15 (B-06)" in warned["text"]


@pytest.mark.requirement("C-12")
def test_what_a_cutover_leaves_behind_is_counted_by_kind(tmp_path: Path) -> None:
    others = [{"kind": "public_folder", "name": "Sales Folder"}, {"kind": "public_folder", "name": "Support"},
              {"kind": "dynamic_group", "name": "Everyone in Vienna"}, {"kind": "contact", "name": "A Plain Contact"},
              {"kind": "user", "name": "svc-backup"}]
    with scene(tmp_path, "cutover", rows={"others": others}) as found:
        assert found.texts()["left_behind"] == (
            "note: a cutover leaves behind: 2 mail-enabled public folders, 1 dynamic distribution group, 1 contact "
            "without a mail address, 2 users without a mailbox, 3 mailboxes of Exchange itself (C-12)")


@pytest.mark.requirement("B-11")
def test_unplanned_missing_and_foreign_are_told_with_their_rows(tmp_path: Path) -> None:
    def change(there: dict[str, Any]) -> None:
        mailboxes = there["rows"]["mailboxes"]
        mailboxes[0]["aliases"] = "anna@fabrikam.com;anna.m@contoso.com"
        gone = mailboxes.pop()
        assert gone["address"] == "room1@contoso.com"
        mailboxes += [{**mailboxes[0], "address": f"new{n}@contoso.com", "aliases": ""} for n in range(4)]

    with scene(tmp_path, "staged", change=change) as found:
        unplanned, missing = found.findings()["inventory"]
        assert unplanned["text"] == "4 mailboxes at the source that nobody has planned, of 9"
        assert unplanned["rows"] == ["new0@contoso.com", "new1@contoso.com", "new2@contoso.com"]
        assert missing["text"] == "1 mailbox planned that the source does not have"
        assert missing["rows"] == ["room1@contoso.com"]
        [foreign] = found.findings()["mail_domains"]
        assert foreign["text"].startswith("fabrikam.com is a domain of 1 mailbox, neither verified in the tenant nor")
        assert foreign["rows"] == ["anna@contoso.com"]


@pytest.mark.requirement("B-17", "B-40")
def test_mx_is_watched_from_the_first_run_on(tmp_path: Path) -> None:
    from engine.laboratory import Workplace

    with scene(tmp_path, "staged") as found:
        desk = Workplace(found.lab, {})
        assert "mail_route" not in found.findings()
        found.mailmove("apply", "acme", "--state", "state", "--yes")
        desk.enter_records("contoso.com. 3600 IN MX 10 filter.example.net.")
        [drift] = found.findings()["mail_route"]
        assert drift["severity"] == "warn"
        assert "10 mail.contoso.com. then, 10 filter.example.net." in drift["text"]
        assert "now; this migration did not change it (B-40)" in drift["text"]
        desk.enter_records("contoso.com. 3600 IN MX 0 contoso-com.mail.protection.outlook.com.")
        [early] = found.findings()["mail_route"]
        assert early["severity"] == "refuse" and early["liftable"] and early["count"] == 6
        assert "mail bounces or lands in empty mailboxes (B-17)" in early["text"]
        assert found.mailmove("apply", "acme", "--state", "state", "--yes")[0] == 5


@pytest.mark.requirement("B-04")
def test_the_published_certificate_is_looked_at_every_time(tmp_path: Path) -> None:
    with scene(tmp_path, "staged") as found:
        assert "source_certificate" not in found.findings()
        found.lab.post("/fault", kind="published", certificate="soon")
        [ends] = found.findings()["source_certificate"]
        assert ends["severity"] == "warn" and "the certificate of mail.contoso.com ends on 2026-11-" in ends["text"]
        found.lab.post("/fault", kind="published", certificate="self_signed")
        assert "warn: the certificate of mail.contoso.com: " in found.texts()["source_certificate"]
        found.lab.post("/fault", kind="published", certificate="good", outlook_anywhere="closed")
        assert "mail.contoso.com shows no certificate: " in found.texts()["source_certificate"]
