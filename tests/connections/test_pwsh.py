"""The PowerShell door, against a program that speaks its protocol in a process of its own, well and badly.

The real module was never met (docs/connections.md); of the script that drives it only the text is looked at here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.connections import Site, pwsh
from engine.connections.exchange_online import ExchangeOnline
from engine.connections.secrets import Secret
from engine.contract import Denied, Diff, Handover, InDoubt, Rejected, Unreachable
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.world import World
from tests.connections.cloud_server import TENANT, Cloud, Reply, running
from tests.modules import lab_cloud

PASSWORD = "P4ss\"w'ord $(x) `é"
MADE: dict[str, Any] = {"objects": [{"Identity": "contoso-endpoint"}], "warnings": []}
ENDPOINT = MigrationEndpoint(name="contoso-endpoint", email_address="anna@contoso.com", account="CORP\\migadmin",
                             autodiscover=False, exchange_server="ex01.corp.contoso.com",
                             rpc_proxy_server="mail.contoso.com")


@dataclass
class Shell:
    """The stand-in's folder, and a connection that starts it."""

    folder: Path
    cloud: Cloud
    door: ExchangeOnline
    site: Site

    def behave(self, *calls: Any, **more: Any) -> None:
        (self.folder / "behaviour.json").write_text(json.dumps({"calls": list(calls), **more}))

    def heard(self) -> list[dict[str, Any]]:
        path = self.folder / "heard.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def started(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "started.jsonl").read_text().splitlines()]

    def make(self) -> list[dict[str, Any]]:
        return self.door.invoke("New-MigrationEndpoint", Name="e", Credentials=self.door.credential("CORP\\migadmin"))

    def test(self) -> list[dict[str, Any]]:
        return self.door.invoke("Test-MigrationServerAvailability", ExchangeOutlookAnywhere=True,
                                Credentials=self.door.credential("CORP\\migadmin"))


def program(folder: Path) -> Path:
    """A program named like PowerShell that is the stand-in."""
    path = folder / "pwsh"
    stand_in = Path(__file__).with_name("pwsh_stand_in.py")
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" "{folder}" "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    # Nobody waits ten minutes here for a child that hangs.
    monkeypatch.setattr(pwsh, "START_SECONDS", 20.0)
    monkeypatch.setattr(pwsh, "CALL_SECONDS", 2.0)
    folder = tmp_path / "shell"
    folder.mkdir()
    with running(tmp_path) as cloud:
        settings = {**cloud.settings(), "shell": "pwsh", "pwsh": str(program(folder)),
                    "client_secret": Secret("env", "APP_SECRET"), "source_password": Secret("env", "SOURCE_PASSWORD")}
        world = World(environment={"SOURCE_PASSWORD": PASSWORD, "APP_SECRET": "correct horse", "PATH": "/usr/bin:/bin"})
        site = Site({"exchange_online": settings},
                    {"tenant": {"id": TENANT, "domain": "contoso.onmicrosoft.com"}}, world)
        found = Shell(folder, cloud, site.exchange_online, site)
        found.behave(MADE)
        yield found
        site.close()


def test_a_credential_goes_through_standard_input_and_nowhere_else(shell: Shell) -> None:
    ENDPOINT.apply(shell.site, Diff("create", (), None))
    connect, call = shell.heard()
    assert connect["connect"] == {"token": "token-number-1", "organization": "contoso.onmicrosoft.com",
                                  "cmdlets": list(pwsh.CMDLETS)}
    assert call == {
        "id": 2, "cmdlet": "New-MigrationEndpoint",
        "parameters": {"ExchangeOutlookAnywhere": True, "Name": "contoso-endpoint", "EmailAddress": "anna@contoso.com",
                       "ExchangeServer": "ex01.corp.contoso.com", "RpcProxyServer": "mail.contoso.com",
                       "Confirm": False},
        "credentials": {"Credentials": {"user": "CORP\\migadmin", "password": PASSWORD}}}
    child, = shell.started()
    assert child["arguments"] == ["-NoLogo", "-NoProfile", "-NonInteractive", "-File", str(pwsh.SCRIPT)]
    arguments = Path(f"/proc/{child['pid']}/cmdline").read_bytes()
    environment = Path(f"/proc/{child['pid']}/environ").read_bytes()
    for secret in (PASSWORD, "token-number-1", "correct horse"):
        assert secret.encode() not in arguments + environment
        assert secret not in json.dumps(child)
    assert b"SOURCE_PASSWORD" not in environment
    assert shell.cloud.seen == []  # nothing of it went over the other door


def test_one_child_serves_all_calls_and_ends_with_the_connection(shell: Shell) -> None:
    assert shell.make() == shell.make() == MADE["objects"]
    assert shell.door.shell is not None
    assert shell.door.shell.version() == "PowerShell 7.4.6, ExchangeOnlineManagement 3.9.0"
    child, = shell.started()
    shell.site.close()
    assert not Path(f"/proc/{child['pid']}").exists()
    assert sum("connect" in each for each in shell.heard()) == 1


def test_without_the_shell_or_the_password_a_person_is_handed_the_script(shell: Shell) -> None:
    for change in ({"shell": "none"}, {"source_password": None}):
        settings = {**shell.cloud.settings(), "shell": "pwsh", "source_password": Secret("env", "SOURCE_PASSWORD"),
                    **change}
        site = Site({"exchange_online": settings}, shell.site.settings, shell.site.world)
        handed = ENDPOINT.apply(site, Diff("create", (), None))
        assert isinstance(handed, Handover) and "Get-Credential" in handed.text


@pytest.mark.parametrize(("word", "said"), [
    ("die", "ended during New-MigrationEndpoint: Unhandled exception. System.OutOfMemoryException"),
    ("hang", "did not answer New-MigrationEndpoint within 2 seconds"),
    ("flood", "prints what is no answer to New-MigrationEndpoint"),
    ("one long line", "New-MigrationEndpoint"),
])
def test_a_lost_answer_to_a_change_is_doubt_and_the_next_call_has_a_new_child(
        shell: Shell, monkeypatch: pytest.MonkeyPatch, word: str, said: str) -> None:
    monkeypatch.setattr("engine.world.Child.LINE_BYTES_MAX", 1024 * 1024)
    shell.behave(word, MADE)
    with pytest.raises(InDoubt, match=re.escape(said)):
        shell.make()
    assert shell.make() == MADE["objects"]
    first, second = shell.started()
    assert not Path(f"/proc/{first['pid']}").exists()
    assert Path(f"/proc/{second['pid']}").exists()


@pytest.mark.parametrize("word", ["die", "hang", "flood"])
def test_a_lost_answer_to_a_look_may_be_asked_again(shell: Shell, word: str) -> None:
    shell.behave(word, {"objects": [{"Result": "Success"}]})
    with pytest.raises(Unreachable):
        shell.test()
    assert shell.test() == [{"Result": "Success"}]


@pytest.mark.parametrize("word", ["die", "flood"])
def test_a_child_that_never_gets_ready_changes_nothing(shell: Shell, word: str) -> None:
    shell.behave(MADE, start=word)
    with pytest.raises(Unreachable, match="the start"):
        shell.make()
    assert shell.heard() == []


@pytest.mark.parametrize(("word", "identity"), [("rubbish", "after the rubbish"), ("out of order", "mine")])
def test_what_is_no_answer_is_passed_over(shell: Shell, word: str, identity: str) -> None:
    shell.behave(word)
    assert shell.make() == [{"Identity": identity}]


def test_an_answer_that_comes_too_late_is_nobodys(shell: Shell) -> None:
    shell.behave("hang", "out of order")
    with pytest.raises(Unreachable):
        shell.test()
    assert shell.test() == [{"Identity": "mine"}]


@pytest.mark.parametrize(("error", "kind", "code", "said"), [
    ({"class": "Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException", "message": "It exists already."},
     Rejected, "ADObjectAlreadyExistsException", "It exists already."),
    ({"class": "System.Exception",
      "message": "Ex6F9304|Microsoft.Exchange.Migration.MigrationTransientException|The source is busy."},
     Rejected, "MigrationTransientException", "The source is busy."),
    ({"class": "System.Management.Automation.CommandNotFoundException", "message": "The term is not recognized."},
     Denied, "CommandNotFoundException", "the cmdlet is not there for this app"),
    ({"class": "System.Exception", "message": f"wrong: {PASSWORD}"}, Rejected, "Exception",
     "wrong: «secret env:SOURCE_PASSWORD»"),
])
def test_an_error_record_is_a_fault_with_its_class(shell: Shell, error: dict[str, str], kind: type[Exception],
                                                   code: str, said: str) -> None:
    shell.behave({"error": error})
    with pytest.raises(kind, match=re.escape(said)) as caught:
        shell.make()
    assert getattr(caught.value, "code", "") == code
    assert PASSWORD not in repr(caught.value)


def test_a_session_that_ends_is_signed_in_anew_once(shell: Shell) -> None:
    gone = {"error": {"class": "System.UnauthorizedAccessException", "message": "Unauthorized"}}
    shell.behave(gone, MADE)
    assert shell.make() == MADE["objects"]
    assert [each["connect"]["token"] for each in shell.heard() if "connect" in each] == [
        "token-number-1", "token-number-2"]
    shell.behave(gone)
    with pytest.raises(Denied, match="Unauthorized"):
        shell.make()


@pytest.mark.parametrize(("more", "kind", "said"), [
    ({"connect": {"error": {"class": "System.Exception", "message": "The role assigned to the app isn't supported"}}},
     Denied, "the sign-in: The role assigned"),
    ({"ready": {"ready": {"protocol": 1, "error": {"message": "no valid module file was found"}}}},
     Rejected, "ExchangeOnlineManagement cannot be loaded"),
    ({"ready": {"ready": {"protocol": 2}}}, Rejected, "another script"),
])
def test_a_shell_that_cannot_work_says_why(shell: Shell, more: dict[str, Any], kind: type[Exception],
                                           said: str) -> None:
    shell.behave(MADE, **more)
    with pytest.raises(kind, match=said):
        shell.make()


def test_no_powershell_is_told_with_what_to_do(shell: Shell) -> None:
    settings = {**shell.cloud.settings(), "shell": "pwsh", "pwsh": "/nowhere/pwsh",
                "source_password": Secret("env", "SOURCE_PASSWORD")}
    site = Site({"exchange_online": settings}, shell.site.settings, shell.site.world)
    with pytest.raises(Rejected, match="cannot be started: /nowhere/pwsh") as caught:
        ENDPOINT.apply(site, Diff("create", (), None))
    assert "shell: none" in caught.value.remedy


def test_the_other_door_takes_what_has_no_credential(shell: Shell) -> None:
    shell.cloud.in_turn(Reply(200, {"value": [{"Identity": "B1"}]}))
    assert shell.door.invoke("Get-MigrationBatch") == [{"Identity": "B1"}]
    assert shell.heard() == []


@pytest.mark.requirement("B-18", "B-21")
def test_an_endpoint_is_made_through_the_shell_and_read_through_the_other_door(tmp_path: Path) -> None:
    folder = tmp_path / "shell"
    folder.mkdir()
    with lab_cloud.running("staged", tmp_path) as lab:
        (folder / "behaviour.json").write_text(json.dumps({"desk": lab.ready["control"] + "/desk"}))
        connections = {**lab.ready["connections"], "exchange_online": {
            **lab.ready["connections"]["exchange_online"], "shell": "pwsh", "pwsh": str(program(folder)),
            "source_password": Secret("env", "SOURCE_PASSWORD")}}
        password = {"SOURCE_PASSWORD": lab.ready["connections"]["directory"]["password"]}
        lab.site = Site(connections, lab.site.settings, World(clock=lab.clock, environment=password))
        assert lab.act(ENDPOINT) is None
        state = lab.settled(ENDPOINT, within=3600)
        assert state is not None and state["account"] == "corp\\migadmin"
        lab.site.close()
        password["SOURCE_PASSWORD"] = "wrong-password"
        other = MigrationEndpoint(**{**vars(ENDPOINT), "name": "another"})
        with pytest.raises(Rejected) as caught:
            lab.act(other)
        assert "wrong-password" not in repr(caught.value) and lab.read(other) is None
        lab.site.close()


# ------------------------------------------------------------------------------------------------------- the script


def test_the_script_runs_no_text_as_code() -> None:
    """Textual: no PowerShell can be installed where this is tested."""
    script = pwsh.SCRIPT.read_text(encoding="utf-8")
    code = "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("#"))
    for word in ("Invoke-Expression", "iex ", "[scriptblock]", "ScriptBlock", "ExpandString", "Start-Process",
                 "-EncodedCommand", "$env:", "Write-Host", "Export-", "Out-File", "Set-Content"):
        assert word.lower() not in code.lower(), word
    assert '"' not in code  # nothing is pasted together: every text stands in single quotes
    for opening, closing in ("{}", "()", "[]"):
        assert code.count(opening) == code.count(closing)
    assert code.count("'") % 2 == 0
    assert "@parameters" in code and "PSCredential]::new(" in code
    assert "finally {\n    Disconnect-ExchangeOnline -Confirm:$false" in code
    for word in ("'ready'", "protocol", "'connect'", "'cmdlet'", "'parameters'", "'credentials'", "'token'",
                 "'organization'", "'cmdlets'", "'user'", "'password'"):
        assert word.strip("'") in code, word
