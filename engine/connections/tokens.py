"""Access tokens of the Microsoft identity platform, by client credentials (RFC 6749, section 4.4) and msal.

settings: `authority` (https://login.microsoftonline.com, with or without the tenant), `client_id`, and one of
`client_secret` or `certificate` (PEM text of the private key and the certificate). msal keeps a token until
shortly before it ends; `renew` is for the token a service has refused all the same.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from engine.connections.http import BROKEN, CONNECT_SECONDS, READ_SECONDS, THROTTLED, open_session, retry_after
from engine.connections.secrets import Secret, redacted
from engine.contract import Denied, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site
    from engine.world import Clock


class Tokens:
    """Tokens for one service. Thread-safe; `scope` is the service's address with /.default."""

    def __init__(self, connection: str, settings: Mapping[str, Any], site: Site, scope: str) -> None:
        self._connection = connection
        self._settings = settings
        self._site = site
        self._scope = scope
        self._lock = threading.Lock()
        self._app: Any = None
        self._plain: tuple[str, ...] = ()
        self._token = ""
        self._claims: str | None = None

    def current(self) -> str:
        """A token that has not ended. Raises Denied (the account), Unreachable (the authority)."""
        with self._lock:
            return self._acquire()

    def renew(self, refused: str, claims: str | None = None) -> None:
        """A service refused this token: the next one is new, however many threads were refused with it.

        `claims` is the challenge of continuous access evaluation, which the next request for a token answers.
        """
        with self._lock:
            if self._token == refused and self._app is not None:
                self._app.remove_tokens_for_client()
                self._claims = claims
                self._token = ""

    def values(self) -> Iterable[str]:
        """What must not be shown."""
        return tuple(each for each in (self._token, *self._plain) if len(each) >= 4)

    def _acquire(self) -> str:
        import msal

        try:
            if self._app is None:
                self._app = self._open()
            answer = self._app.acquire_token_for_client([self._scope], claims_challenge=self._claims)
        except requests.exceptions.SSLError:
            raise Rejected(self._connection, "the certificate of the sign-in service is not trusted", code="TLS",
                           remedy="name the authority that issued it with ca_file") from None
        except requests.RequestException as error:
            why = type(error).__name__
            raise Unreachable(self._connection, f"no token: {why} at the sign-in service") from None
        except (ValueError, KeyError, TypeError, msal.exceptions.MsalError) as error:
            # msal cannot use the authority's metadata, or the certificate
            raise Denied(self._connection, f"no token: {self._redact(str(error)) or type(error).__name__}",
                         remedy="check authority, tenant id and the app's certificate") from None
        token = answer.get("access_token")
        if not isinstance(token, str):
            self._refused(answer)
        self._token, self._claims = str(token), None
        return self._token

    def _refused(self, answer: Mapping[str, Any]) -> None:
        code = str(answer.get("error") or "")
        text = f"no token: {self._redact(str(answer.get('error_description') or code))}"
        if code in ("temporarily_unavailable", "server_error"):  # RFC 6749, section 4.1.2.1
            raise Unreachable(self._connection, text, code=code)
        raise Denied(self._connection, text, code=code, request_id=str(answer.get("correlation_id") or ""),
                     remedy="check client_id and that the app's secret or certificate has not expired")

    def _open(self) -> Any:
        import msal

        settings = self._settings
        secret, certificate = settings.get("client_secret"), settings.get("certificate")
        if not secret and not certificate:
            raise Denied(self._connection, "no token: there is neither client_secret nor certificate")
        credential: Any
        if certificate:
            pem = self._opened(certificate)
            credential = {"private_key": pem, "public_certificate": _certificate(pem)}
        else:
            credential = self._opened(secret)
        authority = str(settings.get("authority") or "https://login.microsoftonline.com").rstrip("/")
        if not urlsplit(authority).path.strip("/"):
            authority += "/" + str(self._site.settings["tenant"]["id"])
        world = self._site.world
        plain = open_session({**settings, "url": authority}, world.environment)
        session = _Session(self._connection, plain, world.clock)
        # The host is the one the inventory names: asking login.microsoftonline.com whether it is genuine
        # would reach out of the lab and out of a sovereign cloud.
        return msal.ConfidentialClientApplication(
            str(settings["client_id"]), client_credential=credential, authority=authority,
            http_client=session, validate_authority=False, instance_discovery=False)

    def _opened(self, value: Any) -> str:
        plain = value.open(self._site.world) if isinstance(value, Secret) else str(value)
        self._plain += (plain,)
        return plain

    def _redact(self, text: str) -> str:
        clean = redacted(text)
        for value in self.values():
            clean = clean.replace(value, "«secret»")
        return clean[:500]


class _Session:
    """What msal asks of an HTTP client, with our bounds on every call.

    "Try later" never reaches msal, which would remember it by the machine's own clock and shape of error.
    """

    def __init__(self, connection: str, session: requests.Session, clock: Clock) -> None:
        self._connection = connection
        self._session = session
        self._clock = clock

    def get(self, url: str, params: Any = None, headers: Any = None, **_: Any) -> requests.Response:
        return self._judged(self._session.get(url, params=params, headers=headers, allow_redirects=False,
                                              timeout=(CONNECT_SECONDS, READ_SECONDS)))

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None,
             **_: Any) -> requests.Response:
        return self._judged(self._session.post(url, params=params, data=data, headers=headers, allow_redirects=False,
                                               timeout=(CONNECT_SECONDS, READ_SECONDS)))

    def close(self) -> None:
        self._session.close()

    def _judged(self, response: requests.Response) -> requests.Response:
        if response.status_code in THROTTLED | BROKEN:
            code = str(response.status_code)
            raise Unreachable(self._connection, f"no token: the sign-in service answers {code}", code=code,
                              retry_after=retry_after(response.headers, self._clock.now()))
        return response


def _certificate(pem: str) -> str:
    found = re.search(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    if not found:
        raise ValueError("the PEM text holds no certificate beside the private key")
    return found[0]
