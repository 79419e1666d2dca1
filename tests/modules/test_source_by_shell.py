"""Where the inventory has the source's own shell, what would be handed over is run: over WS-Management, then read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psrpcore.types import PSDateTime

from engine.connections import Site
from engine.connections.secrets import Secret
from engine.contract import Diff, Unknown
from engine.modules.autodiscover_uri import AutodiscoverUri
from engine.modules.base import Module
from engine.modules.mailbox_rights import MailboxRights
from engine.modules.mailbox_use import MailboxUse
from engine.modules.source_use import SourceUse
from engine.modules.unified_messaging import UnifiedMessaging
from engine.world import World
from tests.connections.psrp_server import PASSWORD, USER, Call, Refusal, running
from tests.modules.lab_cloud import DOMAIN, Lab
from tests.modules.lab_source import source

ANNA = f"anna@{DOMAIN}"
ACCOUNT = "CORP\\migadmin"


#: What the shell answers to a question, by cmdlet; each test says its own.
shell_says: dict[str, list[Any] | Refusal] = {}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Lab, Site, list[Call]]]:
    """An unprepared Exchange 2010 whose shell carries out on the lab's organisation what it is asked."""
    rows = {"mailboxes": [{"address": ANNA, "name": "Anna", "server": "ex01.corp.contoso.com", "database": "DB1",
                           "items": 5, "um": "4711"}]}
    (tmp_path / "lab").mkdir()
    with (source(tmp_path / "lab", "2010", "cutover", rows=rows, preparation={"rights": "none", "forwarding": False})
          as lab, running(tmp_path) as shell):
        def answer(call: Call) -> list[Any]:
            if call.cmdlet.startswith("Get-"):
                found = shell_says[call.cmdlet]
                if isinstance(found, Refusal):
                    raise found
                return found
            words = " ".join(f"-{name}{_typed(value)}" for name, value in call.parameters.items())
            said = lab.control("/desk", {"script": f"{call.cmdlet} {words}"})
            assert said["errors"] == [], said
            return []

        shell.answer = answer
        settings = {"provider": "pypsrp", "host": "127.0.0.1", "port": shell.port, "tls": "tls", "auth": "basic",
                    "user": USER, "password": Secret("env", "SOURCE_PASSWORD"), "ca_file": shell.ca_file}
        world = World(clock=lab.clock, environment={"SOURCE_PASSWORD": PASSWORD})
        yield lab, Site({**lab.ready["connections"], "source_shell": settings}, lab.site.settings, world), shell.calls


def _typed(value: object) -> str:
    return {None: " $null", True: ":$true", False: ":$false"}.get(value, f" '{value}'")  # type: ignore[call-overload,no-any-return]


def done(site: Site, module: Module) -> None:
    site.forget()
    diff = module.difference(module.read(site))
    assert diff is not None and not module.by_hand(site)
    assert module.apply(site, diff) is None
    site.forget()
    assert module.difference(module.read(site)) is None


@pytest.mark.requirement("B-07", "B-08", "B-09", "S-04", "C-21")
def test_what_would_be_handed_over_is_run(stage: tuple[Lab, Site, list[Call]]) -> None:
    _, site, calls = stage
    rights = MailboxRights(address=ANNA, account=ACCOUNT, exchange="2010", target_address=True)
    before = rights.read(site)
    done(site, rights)
    done(site, UnifiedMessaging(address=ANNA))
    done(site, AutodiscoverUri(server="ex01.corp.contoso.com"))
    assert [call.cmdlet for call in calls] == ["Add-MailboxPermission", "Add-ADPermission", "Disable-UMMailbox",
                                               "Set-ClientAccessServer"]
    assert calls[0].parameters == {"Identity": ANNA, "User": ACCOUNT, "AccessRights": "FullAccess",
                                   "InheritanceType": "All"}
    assert calls[3].parameters == {"Identity": "EX01", "AutoDiscoverServiceInternalUri": None}
    now = rights.read(site)
    assert rights.restore(site, rights.difference({**now, "missing": ("x",)}), before) is None  # type: ignore[arg-type, dict-item]
    site.forget()
    assert rights.read(site) == before


@pytest.mark.requirement("B-44")
def test_whoever_still_opens_the_old_mailbox_does_not_work_in_the_cloud(stage: tuple[Lab, Site, list[Call]]) -> None:
    lab, site, calls = stage
    switched = lab.clock.now()
    module = MailboxUse(address=ANNA, since=switched.isoformat(), source_account=ACCOUNT)
    seen = switched + timedelta(hours=3)

    def judged(at: datetime, by: str) -> dict[str, Any]:
        shell_says["Get-MailboxStatistics"] = [{"LastLogonTime": PSDateTime.fromisoformat(at.isoformat()),
                                                "LastLoggedOnUserAccount": by}]
        found = module._judged(site, seen)
        assert isinstance(found, dict)
        return found

    still = judged(seen, "CORP\\anna")
    assert still["used"] is False and (still["source_opened"], still["source_opened_by"]) == (seen, "corp\\anna")
    outlook = module.outlook(still, Diff("change", (), still))
    assert outlook.reason.startswith(f"{ANNA} was still opened at the source {seen:%Y-%m-%d %H:%M} UTC")
    assert judged(switched - timedelta(hours=1), "CORP\\anna")["used"] is True
    assert judged(seen, ACCOUNT)["used"] is True, "the migration itself opens it every day"
    assert {call.cmdlet for call in calls} == {"Get-MailboxStatistics"}
    shell_says["Get-MailboxStatistics"] = Refusal("Microsoft.Exchange.X.ManagementObjectNotFoundException", "no such")
    assert module._judged(site, seen) == {"used": True, "last_used": seen, "last_sign_in": None}
    shell_says["Get-MailboxStatistics"] = Refusal("System.Exception", "the store is down")
    assert isinstance(module._judged(site, seen), Unknown)


@pytest.mark.requirement("B-43", "B-51")
def test_hosts_that_still_bring_mail_from_outside_are_named(stage: tuple[Lab, Site, list[Call]]) -> None:
    _, site, calls = stage
    shell_says["Get-MessageTrackingLog"] = [
        {"Source": "SMTP", "ClientHostname": host, "Sender": sender, **more} for host, sender, more in (
            ("scanner7", "scanner@contoso.com", {}), ("scanner7", "scanner@contoso.com", {}),
            ("EX01", "bo@fabrikam.com", {}), ("ex01", "bo@fabrikam.com", {"Directionality": "Incoming"}),
            ("probe", "inboundproxy@inboundproxy.com", {}))]
    found = SourceUse(quiet=timedelta(days=3)).read(site)
    assert "hosts that still bring mail from outside: 2 (ex01: 1, scanner7: 2)" in found["left"]  # type: ignore[operator]
    asked = calls[-1].parameters
    assert asked["EventId"] == "RECEIVE" and str(asked["Start"]).endswith("Z")


def test_exchange_2003_is_told_its_consoles_all_the_same(stage: tuple[Lab, Site, list[Call]]) -> None:
    _, site, calls = stage
    older = MailboxRights(address=ANNA, account=ACCOUNT, exchange="2003")
    diff = older.difference(older.read(site))
    assert diff is not None and older.by_hand(site)
    handed = older.apply(site, diff)
    assert handed is not None and handed.kind == "text" and calls == []
