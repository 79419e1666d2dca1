"""The source's own shell: the WS-Management exchange over HTTPS, decoded by another library than the client's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psrpcore.types import PSSecureString

from engine.connections import Site
from engine.connections.secrets import Secret
from engine.connections.source_shell import SourceShell
from engine.contract import Denied, InDoubt, Rejected, Unreachable
from engine.doctor import LOOKS
from engine.world import World
from tests.connections.psrp_server import PASSWORD, USER, Call, Refusal, Shell, running


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with running(tmp_path) as found:
        yield found


def client(shell: Shell, **changes: Any) -> SourceShell:
    settings = {"provider": "pypsrp", "host": "127.0.0.1", "port": shell.port, "tls": "tls", "auth": "basic",
                "user": USER, "password": Secret("env", "SOURCE_PASSWORD"), "ca_file": shell.ca_file, **changes}
    world = World(environment={"SOURCE_PASSWORD": PASSWORD, "OTHER": "s3cret-s3cret"})
    return Site({"source_shell": settings}, {"migration": "test"}, world).source_shell


def test_a_cmdlet_goes_alone_with_its_parameters_and_its_objects_come_back_plain(shell: Shell) -> None:
    shell.answer = lambda call: [{"Name": "EX01", "AutoDiscoverServiceInternalUri": None, "Roles": ["Mailbox", "Cas"],
                                  "IsValid": True, "Count": 3}, "a text"]
    found = client(shell).invoke("Get-ClientAccessServer", Identity="EX01", ResultSize="Unlimited", Verbose=False)
    assert found == [{"Name": "EX01", "AutoDiscoverServiceInternalUri": None, "Roles": ["Mailbox", "Cas"],
                      "IsValid": True, "Count": 3}, {"value": "a text"}]
    call, = shell.calls
    assert call == Call("Get-ClientAccessServer", {"Identity": "EX01", "ResultSize": "Unlimited", "Verbose": False},
                        False)
    assert shell.configurations == ["Microsoft.Exchange"]


def test_many_objects_and_every_sign_arrive_whole(shell: Shell) -> None:
    signs = "Ö'\"<&>`$(x) \u2028 é漢"
    shell.answer = lambda call: [{"Number": n, "Signs": call.parameters["Filter"]} for n in range(2_000)]
    found = client(shell).invoke("Get-Mailbox", Filter=signs)
    assert [each["Number"] for each in found] == list(range(2_000))
    assert {each["Signs"] for each in found} == {signs}


def test_one_session_serves_all_calls_and_is_closed(shell: Shell) -> None:
    one = client(shell)
    one.invoke("Get-Mailbox")
    one.invoke("Get-Mailbox")
    assert len(shell.configurations) == 1 and len(shell.pools) == 1
    one.close()
    assert shell.closed == 1 and not shell.pools


def test_a_secret_becomes_a_secure_string(shell: Shell) -> None:
    client(shell).invoke("Set-Something", Identity="x", Password=Secret("env", "OTHER"))
    sent = shell.calls[0].parameters["Password"]
    assert isinstance(sent, PSSecureString) and sent.decrypt() == "s3cret-s3cret"


@pytest.mark.parametrize(("refusal", "kind", "code", "said"), [
    (Refusal("Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException", "'EX09' couldn't be found."),
     Rejected, "ManagementObjectNotFoundException", "couldn't be found"),
    (Refusal("System.Management.Automation.CommandNotFoundException", "The term is not recognized.",
             "CommandNotFoundException"), Denied, "CommandNotFoundException", "roles do not have this cmdlet"),
])
def test_an_error_record_is_a_fault_with_its_class(shell: Shell, refusal: Refusal, kind: type[Exception], code: str,
                                                   said: str) -> None:
    def answer(call: Call) -> list[Any]:
        raise refusal

    shell.answer = answer
    with pytest.raises(kind, match=said) as caught:
        client(shell).invoke("Set-ClientAccessServer", Identity="EX09", AutoDiscoverServiceInternalUri=None)
    assert getattr(caught.value, "code", "") == code


def test_a_wrong_password_is_denied_once_and_never_shown(shell: Shell) -> None:
    wrong = client(shell, password="wrong-password")
    for _ in range(3):
        with pytest.raises(Denied, match="refused the sign-in") as caught:
            wrong.invoke("Get-Mailbox")
        assert "wrong-password" not in repr(caught.value)
    assert shell.signed_in == [False]


def test_basic_without_tls_sends_nothing(shell: Shell) -> None:
    with pytest.raises(Rejected, match="in clear"):
        client(shell, tls="none").invoke("Get-Mailbox")
    assert shell.signed_in == []


def test_an_unknown_authority_is_not_trusted(shell: Shell) -> None:
    with pytest.raises(Rejected, match="not trusted"):
        client(shell, ca_file=None).invoke("Get-Mailbox")
    assert shell.signed_in == []


def test_no_server_is_unreachable(shell: Shell) -> None:
    with pytest.raises(Unreachable):
        client(shell, port=1).invoke("Get-Mailbox")


def test_another_web_server_is_told_apart(shell: Shell) -> None:
    shell.faults["Create"] = [(500, 2150858811, "The WS-Management service cannot process the resource URI.")]
    with pytest.raises(Rejected, match="has no Exchange shell"):
        client(shell).invoke("Get-Mailbox")
    shell.faults["Create"] = [(403, 0, "Forbidden")]
    with pytest.raises(Denied, match="HTTP 403") as caught:
        client(shell).invoke("Get-Mailbox")
    assert "RemotePowerShellEnabled" in caught.value.remedy


@pytest.mark.parametrize("cmdlet", ["Get-Mailbox", "Set-Mailbox"])
def test_a_session_that_timed_out_is_opened_anew(shell: Shell, cmdlet: str) -> None:
    one = client(shell)
    one.invoke("Get-Mailbox")
    shell.faults["Command"] = [(500, 2150858843, "The shell was not found on the server.")]
    one.invoke(cmdlet, Identity="anna")
    assert [call.cmdlet for call in shell.calls] == ["Get-Mailbox", cmdlet]
    assert len(shell.configurations) == 2


def test_too_many_sessions_pass_by_themselves(shell: Shell) -> None:
    busy = (500, 2150859174, "The maximum number of concurrent shells for this user has been exceeded.")
    shell.faults["Create"] = [busy]
    with pytest.raises(Unreachable, match="concurrent shells"):
        client(shell).invoke("Set-Mailbox", Identity="anna")
    assert shell.calls == []


def test_a_lost_answer_to_a_change_is_doubt_and_to_a_look_is_asked_again(shell: Shell) -> None:
    one = client(shell)
    one.invoke("Get-Mailbox")
    shell.silent.append("Command")
    with pytest.raises(InDoubt):
        one.invoke("Set-Mailbox", Identity="anna")
    assert [call.cmdlet for call in shell.calls] == ["Get-Mailbox", "Set-Mailbox"]
    one.invoke("Get-Mailbox")
    shell.silent.append("Command")
    assert one.invoke("Get-Mailbox") == []


def test_doctor_looks_with_the_same_client(shell: Shell) -> None:
    shell.answer = lambda call: [{"Name": "EX01"}, {"Name": "EX02"}]
    assert LOOKS["source_shell"](client(shell), None) == "2 Exchange servers"  # type: ignore[arg-type]
    assert "handed to a person" in LOOKS["source_shell"](client(shell, provider="none"), None)  # type: ignore[arg-type]


def test_earlier_releases_have_no_shell(shell: Shell) -> None:
    with pytest.raises(Rejected, match="no shell for this source") as caught:
        client(shell, provider="none").invoke("Get-Mailbox")
    assert "2010 or 2013" in caught.value.remedy
