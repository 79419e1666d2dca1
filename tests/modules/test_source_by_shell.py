"""Where the inventory has the source's own shell, what would be handed over is run: over WS-Management, then read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.connections import Site
from engine.connections.secrets import Secret
from engine.modules.autodiscover_uri import AutodiscoverUri
from engine.modules.base import Module
from engine.modules.mailbox_rights import MailboxRights
from engine.modules.unified_messaging import UnifiedMessaging
from engine.world import World
from tests.connections.psrp_server import PASSWORD, USER, Call, running
from tests.modules.lab_cloud import DOMAIN, Lab
from tests.modules.lab_source import source

ANNA = f"anna@{DOMAIN}"
ACCOUNT = "CORP\\migadmin"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Lab, Site, list[Call]]]:
    """An unprepared Exchange 2010 whose shell carries out on the lab's organisation what it is asked."""
    rows = {"mailboxes": [{"address": ANNA, "name": "Anna", "server": "ex01.corp.contoso.com", "database": "DB1",
                           "items": 5, "um": "4711"}]}
    (tmp_path / "lab").mkdir()
    with (source(tmp_path / "lab", "2010", "cutover", rows=rows, preparation={"rights": "none", "forwarding": False})
          as lab, running(tmp_path) as shell):
        def answer(call: Call) -> list[Any]:
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


def test_exchange_2003_is_told_its_consoles_all_the_same(stage: tuple[Lab, Site, list[Call]]) -> None:
    _, site, calls = stage
    older = MailboxRights(address=ANNA, account=ACCOUNT, exchange="2003")
    diff = older.difference(older.read(site))
    assert diff is not None and older.by_hand(site)
    handed = older.apply(site, diff)
    assert handed is not None and handed.kind == "text" and calls == []
