"""The source's own Exchange shell, 2010 and 2013: remote PowerShell over WS-Management (pypsrp; [MS-PSRP], [MS-WSMV]).

The endpoint runs no language: only a cmdlet with parameters, whatever is to be computed is computed here. Exchange 2007
and 2003 have no such endpoint; there every line is handed to a person.

settings: `provider` (none | pypsrp), `host` (the server's full name, which Kerberos needs), `auth` (kerberos, the
default; negotiate; basic), `tls` (none: port 80, the payload sealed by Kerberos or Negotiate; tls: port 443), `port`,
`user`, `password`, `ca_file`. Basic only with tls. Met: a PSRP server of the tests over HTTPS with Basic. Never met: an
Exchange server, Kerberos, Negotiate (docs/connections.md).
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from engine.connections.endpoint import SignIn, opened, untrusted
from engine.connections.redaction import redacted
from engine.connections.secrets import Secret
from engine.contract import Denied, Fault, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site

CONFIGURATION = "Microsoft.Exchange"
PATH = "PowerShell"
CONNECT_SECONDS = 30
#: One look for output, and all of them together: a cmdlet over a whole organisation takes minutes.
LOOK_SECONDS = 20
CALL_SECONDS = 900.0
RIGHTS = "Organization Management (or the role of each cmdlet), and Set-User -RemotePowerShellEnabled $true"
#: WS-Management's fault for a session that is not there (any more): nothing was carried out in it.
_GONE = 2150858843
_BUSY = re.compile("maximum number of concurrent|quota|too many requests", re.IGNORECASE)
_NOT_EXCHANGE = re.compile("resource uri", re.IGNORECASE)


class SourceShell:
    """The client. Thread-safe: one session, one cmdlet at a time. Every method raises Fault."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._settings = settings
        self._site = site
        self._lock = threading.Lock()
        self._sign_in = SignIn(site.world.clock)
        self._pool: Any = None
        self._host = str(settings.get("host") or "")
        #: whether cmdlets can be run at all; where not, a module hands its lines over
        self.there = settings.get("provider", "none") == "pypsrp"

    def close(self) -> None:
        with self._lock:
            self._drop()

    def invoke(self, cmdlet: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run one cmdlet; its objects as mappings of plain values (sizes and identities are texts).

        A Secret becomes a SecureString. Raises Rejected with the exception's class in `code`; Denied where the
        account's roles do not have the cmdlet; InDoubt where the answer to a change got lost.
        """
        if not self.there:
            raise Rejected(self._name, "there is no shell for this source", remedy=(
                "write provider: pypsrp for Exchange 2010 or 2013; earlier releases have no remote shell"))
        write = not cmdlet.startswith(("Get-", "Test-"))
        with self._lock:
            for again in (True, False):
                pool = self._opened()
                try:
                    return self._run(pool, cmdlet, parameters, write)
                except Unreachable:
                    self._drop()  # an idle session is gone after 15 minutes: once more, on a new one
                    if not again:
                        raise
                except InDoubt:
                    self._drop()
                    raise
        raise AssertionError("unreachable")

    # ------------------------------------------------------------------------------------------- inside

    def _opened(self) -> Any:
        if self._pool is None:
            self._sign_in.check()
            self._pool = self._open()
        return self._pool

    def _open(self) -> Any:
        from pypsrp.powershell import RunspacePool
        from pypsrp.wsman import WSMan

        settings = self._settings
        protected = settings.get("tls", "none") == "tls"
        auth = str(settings.get("auth") or "kerberos")
        if auth == "basic" and not protected:
            raise Rejected(self._name, "auth: basic would send the password in clear", remedy="write tls: tls with it")
        try:
            wsman = WSMan(
                self._host, port=int(settings.get("port") or (443 if protected else 80)), ssl=protected, path=PATH,
                auth=auth, username=str(settings.get("user") or "") or None,
                password=opened(settings.get("password"), self._site.world) or None,
                # Without TLS every message is sealed by the sign-in's own key, or nothing is sent.
                encryption="auto" if protected else "always", cert_validation=settings.get("ca_file") or True,
                connection_timeout=CONNECT_SECONDS, operation_timeout=LOOK_SECONDS, read_timeout=LOOK_SECONDS + 10,
                no_proxy=True, negotiate_service="HTTP")
            pool = RunspacePool(wsman, configuration_name=CONFIGURATION)
            pool.open()
        except Fault:
            raise
        except Exception as error:  # pypsrp, requests, the Kerberos library: all of them raise what they like
            raise self._not_opened(error) from None
        return pool

    def _not_opened(self, error: Exception) -> Fault:
        from pypsrp.exceptions import AuthenticationError

        if isinstance(error, AuthenticationError) or _kerberos(error):
            return self._sign_in.refused(Denied(
                self._name, f"{self._host} refused the sign-in: {self._words(error)}", code="401",
                remedy="correct user and password; for Kerberos the host is the server's full name"))
        return self._judged(error, "the session", write=False)

    def _run(self, pool: Any, cmdlet: str, parameters: Mapping[str, Any], write: bool) -> list[dict[str, Any]]:
        from pypsrp.complex_objects import PSInvocationState
        from pypsrp.powershell import PowerShell

        shell = PowerShell(pool)
        shell.add_cmdlet(cmdlet)
        try:
            shell.add_parameters({name: self._sent(pool, value) for name, value in parameters.items()})
        except Fault:
            raise
        except Exception as error:  # the exchange of keys for a SecureString: nothing has been asked yet
            raise self._judged(error, cmdlet, write=False) from None
        if write:
            self._site.before_call()
        clock = self._site.world.clock
        started, looks = clock.now(), 0
        try:
            shell.begin_invoke()
            while shell.state == PSInvocationState.RUNNING:
                shell.poll_invoke(timeout=LOOK_SECONDS)
                looks += 1
                if (clock.now() - started).total_seconds() > CALL_SECONDS:
                    raise TimeoutError(f"no end after {looks} looks")
        except Exception as error:  # see `_open`
            raise self._judged(error, cmdlet, write=write) from None
        if shell.had_errors or shell.streams.error:
            self._refused(cmdlet, shell)
        return [_plain(each) for each in shell.output if each is not None]

    def _sent(self, pool: Any, value: Any) -> Any:
        if isinstance(value, Secret):
            from pypsrp.serializer import TaggedValue

            pool.exchange_keys()
            return TaggedValue("SS", str(value.open(self._site.world)))  # the library goes by exact types
        return list(value) if isinstance(value, tuple) else value

    def _refused(self, cmdlet: str, shell: Any) -> NoReturn:
        record = shell.streams.error[0] if shell.streams.error else None
        kinds = getattr(getattr(record, "exception", None), "types", None) or [str(getattr(record, "fq_error", ""))]
        kind = str(kinds[0]).split(",")[0].rpartition(".")[2]
        text = redacted(str(record if record is not None else "the cmdlet failed and gave no reason"))[:1000]
        if "CommandNotFoundException" in (kind, str(getattr(record, "fq_error", "")).split(",")[0]):
            raise Denied(self._name, f"{cmdlet}: the account's roles do not have this cmdlet", code=kind,
                         remedy=f"the account needs {RIGHTS}")
        raise Rejected(self._name, f"{cmdlet}: {text}", code=kind)

    def _judged(self, error: Exception, what: str, *, write: bool) -> Fault:
        """Anything that went wrong on the way, by what it says of the request."""
        import requests
        from pypsrp.exceptions import WinRMTransportError, WSManFaultError

        words = self._words(error)
        if isinstance(error, requests.exceptions.SSLError):
            return untrusted(self._name, self._host)
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return Unreachable(self._name, f"{self._host} does not answer ({type(error).__name__})")
        fault, code = isinstance(error, WSManFaultError), getattr(error, "code", 0)
        if fault and (code == _GONE or _BUSY.search(words)):
            return Unreachable(self._name, f"{what}: {words}", code=str(code))
        if fault and _NOT_EXCHANGE.search(words):
            return Rejected(self._name, f"{self._host} has no Exchange shell: {words}", code=str(code),
                            remedy="name an Exchange 2010 or 2013 server with the Client Access role")
        if isinstance(error, WinRMTransportError) and code in (403, 404):
            return Denied(self._name, f"{what}: HTTP {code}", code=str(code), remedy=f"the account needs {RIGHTS}")
        if isinstance(error, WinRMTransportError) and code in (408, 429, 503):
            return Unreachable(self._name, f"{what}: HTTP {code}", code=str(code))
        return InDoubt(self._name, f"{what}: {words}") if write else Unreachable(self._name, f"{what}: {words}")

    def _words(self, error: Exception) -> str:
        reason = getattr(error, "reason", None) or getattr(error, "provider_fault", None)
        text = str(reason) if isinstance(reason, str) else f"{type(error).__name__}"
        return redacted(text)[:500]

    def _drop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            # Sessions are limited (18 for each account); one that cannot be closed is gone either way.
            with contextlib.suppress(Exception):
                pool.close()


def _kerberos(error: Exception) -> bool:
    """Whether the sign-in's own library refused, which raises classes of its own (pyspnego)."""
    return type(error).__module__.split(".")[0] in ("spnego", "gssapi", "krb5")


def _plain(found: Any) -> dict[str, Any]:
    """An object of the shell as plain values; a lone text or number under the name `value`."""
    properties = {**getattr(found, "extended_properties", {}), **getattr(found, "adapted_properties", {})}
    if not properties:
        return {"value": _value(found)}
    return {str(name): _value(value) for name, value in properties.items()}


def _value(found: Any) -> Any:
    if found is None or isinstance(found, str | bool | int | float):
        return found
    if isinstance(found, list | tuple):
        return [_value(each) for each in found]
    text = getattr(found, "to_string", None)
    return str(text if text is not None else found)
