"""The second door to Exchange Online: a PowerShell child with Microsoft's own module, for cmdlets with a credential.

The child runs `exchange_online.ps1`, which is shipped beside this file and says the protocol: one JSON value a line,
each way. Token and password go through its standard input and nowhere else – not into its arguments, which every
account of the machine may read, nor its environment. One child serves all calls, one call at a time; a child that
dies, hangs, or talks nonsense is ended, and the next call starts another.

settings: `pwsh` (the program, default pwsh), `organisation` (default: the tenant's domain). PowerShell 7.4 or later
with ExchangeOnlineManagement 3.1 or later. Never met: the real module (docs/connections.md).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.connections.redaction import redacted
from engine.connections.secrets import Secret
from engine.contract import Denied, Fault, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site
    from engine.connections.tokens import Tokens
    from engine.world import Child

SCRIPT = Path(__file__).with_name("exchange_online.ps1")
PROTOCOL = 1
#: Importing the module and signing in take many seconds; the credential cmdlets sign in at the source meanwhile.
START_SECONDS = 120.0
CALL_SECONDS = 600.0
#: Lines that are no answers – banners, warnings of the module – until it is no longer the same conversation.
RUBBISH_LINES_MAX = 200
#: What a child needs of our environment, which may hold secrets under any other name.
INHERITED = ("PATH", "HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
             "PROGRAMFILES", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL", "PSMODULEPATH", "HTTPS_PROXY",
             "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "DOTNET_ROOT")
#: Only these are loaded, which is quicker and asks for no more than is used.
CMDLETS = ("New-MigrationEndpoint", "Set-MigrationEndpoint", "Test-MigrationServerAvailability")
RIGHTS = "the role Migration (or Exchange Administrator) for the app, which loads only the cmdlets it may use"


@dataclass(frozen=True)
class Credential:
    """An account and its password, which is opened at the moment it is sent."""

    user: str
    password: Secret


class Pwsh:
    """The door. Thread-safe. Every method raises Fault; a change whose answer got lost is InDoubt."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site, tokens: Tokens) -> None:
        self._name = name
        self._site = site
        self._tokens = tokens
        self._program = str(settings.get("pwsh") or "pwsh")
        self._organisation = str(settings.get("organisation") or site.settings["tenant"]["domain"])
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._version = ""
        self._token = ""
        self._number = 0

    def close(self) -> None:
        with self._lock:
            self._end()

    def version(self) -> str:
        """PowerShell's and the module's version, signed in: what `doctor` shows."""
        with self._lock:
            self._ready()
            return self._version

    def invoke(self, cmdlet: str, parameters: Mapping[str, Any], *, write: bool) -> list[dict[str, Any]]:
        """Run one cmdlet; a Credential among the parameters becomes a PSCredential in the child.

        Raises Rejected with the exception's class in `code`.
        """
        given = {name: value for name, value in parameters.items() if isinstance(value, Credential)}
        sent: dict[str, Any] = {"cmdlet": cmdlet, "parameters": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in parameters.items() if name not in given}}
        sent["credentials"] = {name: {"user": value.user, "password": value.password.open(self._site.world)}
                               for name, value in given.items()}
        with self._lock:
            for renewed in (False, True):
                self._ready()
                answer = self._ask(sent, cmdlet, CALL_SECONDS, write=write)
                error = answer.get("error")
                if not isinstance(error, dict):
                    return [each for each in answer.get("objects") or () if isinstance(each, dict)]
                if _signed_out(error) and not renewed:
                    self._tokens.renew(self._token)
                    continue
                raise self._refused(cmdlet, error)
        raise AssertionError("unreachable")

    # ------------------------------------------------------------------------------------------- inside

    def _ready(self) -> None:
        """A child that has signed in with a token that has not ended."""
        if self._child is None:
            self._start()
        token = self._tokens.current()
        if token != self._token:
            answer = self._ask({"connect": {"token": token, "organization": self._organisation,
                                            "cmdlets": list(CMDLETS)}}, "the sign-in", START_SECONDS, write=False)
            if isinstance(answer.get("error"), dict):
                fault = self._refused("the sign-in", answer["error"])
                self._end()
                raise Denied(self._name, fault.text, code=fault.code, remedy=(
                    "check the app's right Exchange.ManageAsApp, its role, and organisation"))
            self._token = token

    def _start(self) -> None:
        world = self._site.world
        words = [self._program, "-NoLogo", "-NoProfile", "-NonInteractive", "-File", str(SCRIPT)]
        try:
            self._child = world.child(words, {name: value for name, value in world.environment.items()
                                              if name.upper() in INHERITED})
        except OSError as error:
            raise Rejected(self._name, f"PowerShell cannot be started: {self._program}: {error.strerror}", remedy=(
                "install PowerShell 7.4 or later, name it with pwsh:, or write shell: none")) from None
        self._token = ""
        said = self._next(START_SECONDS, lambda answer: "ready" in answer, "the start", write=False)["ready"]
        if not isinstance(said, dict) or said.get("protocol") != PROTOCOL:
            self._end()
            raise Rejected(self._name, "PowerShell ran another script than the one beside this program",
                           remedy="install mailmove again")
        if isinstance(said.get("error"), dict):
            self._end()
            raise Rejected(self._name, f"the module ExchangeOnlineManagement cannot be loaded: "
                                       f"{_redact(str(said['error'].get('message')))}",
                           remedy="Install-Module ExchangeOnlineManagement -Scope CurrentUser")
        self._version = f"PowerShell {said.get('powershell')}, ExchangeOnlineManagement {said.get('module')}"

    def _ask(self, request: Mapping[str, Any], what: str, seconds: float, *, write: bool) -> dict[str, Any]:
        assert self._child is not None
        if write:
            self._site.before_call()
        self._number += 1
        number = self._number
        self._child.send(json.dumps({"id": number, **request}).encode("ascii"))
        return self._next(seconds, lambda answer: answer.get("id") == number, what, write=write)

    def _next(self, seconds: float, wanted: Any, what: str, *, write: bool) -> dict[str, Any]:
        """The answer that is wanted; answers to earlier calls and what is no answer at all are passed over."""
        assert self._child is not None
        clock, rubbish = self._site.world.clock, 0
        started, left = clock.now(), seconds
        while left > 0:
            try:
                line = self._child.receive(left)
            except EOFError:
                raise self._lost(f"PowerShell ended during {what}", write) from None
            if line is None:
                break
            answer = _parsed(line)
            if answer is not None and wanted(answer):
                return answer
            rubbish += answer is None
            if rubbish > RUBBISH_LINES_MAX:
                raise self._lost(f"PowerShell prints what is no answer to {what}", write,
                                 line.decode("utf-8", "replace"))
            left = seconds - (clock.now() - started).total_seconds()
        raise self._lost(f"PowerShell did not answer {what} within {seconds:.0f} seconds", write)

    def _lost(self, text: str, write: bool, said: str = "") -> Fault:
        """The child is ended; what it was doing may have been done."""
        assert self._child is not None
        child = self._child
        self._end(now=True)
        words = _redact(said or child.last_words())
        text += f": {words}" if words else ""
        return InDoubt(self._name, text) if write else Unreachable(self._name, text)

    def _end(self, *, now: bool = False) -> None:
        child, self._child, self._token = self._child, None, ""
        if child is not None:
            child.end(0.0 if now else 5.0)

    def _refused(self, what: str, error: Mapping[str, Any]) -> Fault:
        """PowerShell's error record as a fault. The class decides, not the text."""
        kind = str(error.get("class") or "").rpartition(".")[2]
        text = _redact(str(error.get("message") or error.get("id") or "no reason was given"))
        pieces = text.split("|", 2)  # id|ExceptionClass|text, as over the other door
        if len(pieces) == 3:
            kind, text = pieces[1].rpartition(".")[2], pieces[2].strip()
        if kind == "CommandNotFoundException":
            return Denied(self._name, f"{what}: the cmdlet is not there for this app", code=kind,
                          remedy=f"give it {RIGHTS}")
        if _signed_out(error):
            return Denied(self._name, f"{what}: {text}", code=kind, remedy=f"give the app {RIGHTS}")
        return Rejected(self._name, f"{what}: {text}", code=kind)



def _redact(text: str) -> str:
    return redacted(text)[:1000]


def _signed_out(error: Mapping[str, Any]) -> bool:
    """Whether the session's token is no longer taken: nothing was carried out."""
    said = f"{error.get('class')} {error.get('id')} {error.get('message')}".lower()
    return "unauthorized" in said or "token has expired" in said or "access token is expired" in said


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
