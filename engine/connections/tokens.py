"""Access tokens of the Microsoft identity platform, by client credentials (RFC 6749, section 4.4) and msal.

settings: `authority` (https://login.microsoftonline.com, with or without the tenant), `client_id`, and one of
`client_secret` or `certificate` (PEM text of the private key and the certificate). msal keeps a token until
shortly before it ends; `renew` is for the token a service has refused all the same.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from engine.connections.http import (
    BROKEN,
    CONNECT_SECONDS,
    PROXY_REMEDY,
    READ_SECONDS,
    THROTTLED,
    open_session,
    retry_after,
)
from engine.connections.redaction import redacted, remember
from engine.connections.secrets import Secret
from engine.contract import Denied, ExitCode, Problem, Refusal, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site
    from engine.world import Clock


#: What the sign-in service's numbers ask for ("Microsoft Entra authentication and authorization error codes").
REMEDIES = {
    "7000215": "the client secret is not the app's: write its value, not its id",
    "7000222": "the client secret has expired: make a new one for the app",
    "7000216": "the app wants a secret or a certificate: name one of them",
    "700016": "the tenant has no such app: check client_id, and tenant in the inventory",
    "700027": "the certificate is not the app's: upload its public half to the app, or name the other one",
    "700024": "set this machine's clock",
    "90002": "there is no such tenant: check tenant: id in the inventory",
    "65001": "an administrator has not consented to the app's permissions",
    "53003": "a Conditional Access policy forbids it: exclude the app's service principal",
    "7000112": "the app is disabled in the tenant: enable its enterprise application",
}
#: msal is asked again after so long, and where a token ends sooner, for every request: it renews one that ends within
#: five minutes. Looking into its cache costs more than the rest of a small request.
ASKED_AGAIN = RENEWED_BEFORE = timedelta(minutes=5)
#: An assertion that is not valid yet, or no longer.
_CLOCK = {"700024"}


class Tokens:
    """Tokens for one service. Thread-safe; `scope` is the service's address with /.default."""

    def __init__(self, connection: str, settings: Mapping[str, Any], site: Site, scope: str) -> None:
        self._connection = connection
        self._settings = settings
        self._site = site
        self._scope = scope
        self._lock = threading.Lock()
        self._app: Any = None
        self._token = ""
        self._good_until: datetime | None = None
        self._claims: str | None = None
        self._session: _Session | None = None

    def current(self) -> str:
        """A token that has not ended, of the tenant that the inventory pins.

        Raises Denied (the account), Unreachable (the authority); Refusal (exit 5) where the sign-in service has given
        one of another tenant: nothing is ever asked with it (invariant S16).
        """
        with self._lock:
            good = self._token and self._good_until is not None and self._site.world.clock.now() < self._good_until
            return self._token if good else self._acquire()

    def roles(self) -> frozenset[str]:
        """The application rights in the token (claim `roles`). Raises Rejected for one that cannot be read."""
        claims = _claims(self.current())
        if claims is None:
            raise Rejected(self._connection, "the token is not one whose rights can be read")
        return frozenset(map(str, claims.get("roles") or ()))

    def renew(self, refused: str, claims: str | None = None) -> None:
        """A service refused this token: the next one is new, however many threads were refused with it.

        `claims` is the challenge of continuous access evaluation, which the next request for a token answers.
        """
        with self._lock:
            if self._token == refused and self._app is not None:
                self._app.remove_tokens_for_client()
                self._claims = claims
                self._token = ""

    def _acquire(self) -> str:
        import msal

        try:
            if self._app is None:
                self._app = self._open()
            answer = self._app.acquire_token_for_client([self._scope], claims_challenge=self._claims)
        except requests.exceptions.SSLError:
            raise Rejected(self._connection, "the certificate of the sign-in service is not trusted", code="TLS",
                           remedy="name the authority that issued it with ca_file") from None
        except requests.exceptions.ProxyError as error:
            if "407" in str(error):
                raise Denied(self._connection, "no token: the proxy before the sign-in service wants a sign-in",
                             code="407", remedy=PROXY_REMEDY) from None
            raise Unreachable(self._connection, "no token: the proxy does not let us to the sign-in service") from None
        except requests.RequestException as error:
            why = type(error).__name__
            raise Unreachable(self._connection, f"no token: {why} at the sign-in service") from None
        except (ValueError, KeyError, TypeError, msal.exceptions.MsalError) as error:
            # msal cannot use the authority's metadata, or the certificate
            raise Denied(self._connection, f"no token: {redacted(str(error))[:500] or type(error).__name__}",
                         remedy="check authority, tenant id and the app's certificate") from None
        token = answer.get("access_token")
        if not isinstance(token, str):
            self._refused(answer)
        remember(token, f"access token of {self._connection}", passing=True)
        if token != self._token:
            self._demand_our_tenant(token)
        self._token, self._claims = str(token), None
        lasts = timedelta(seconds=int(answer.get("expires_in") or 0)) - RENEWED_BEFORE
        self._good_until = self._site.world.clock.now() + min(lasts, ASKED_AGAIN)
        return self._token

    def _demand_our_tenant(self, token: str) -> None:
        """By its claim `tid`; of a token that cannot be read, the preflight's look at the organisation has to do."""
        wanted = str(self._site.settings["tenant"]["id"]).lower()
        found = str((_claims(token) or {}).get("tid") or wanted).lower()
        if found != wanted:
            raise Refusal(ExitCode.REFUSED, Problem(
                "this is another tenant", next_command="mailmove doctor",
                found=f"the inventory pins {wanted}; the sign-in service gave {self._connection} a token of {found}. "
                      "Nothing was asked with it.",
                remedy=f"Check the authority of the connection {self._connection}, or tenant: id in the inventory."))

    def _refused(self, answer: Mapping[str, Any]) -> None:
        code = str(answer.get("error") or "")
        text = f"no token: {redacted(str(answer.get('error_description') or code))[:500]}"
        if code in ("temporarily_unavailable", "server_error"):  # RFC 6749, section 4.1.2.1
            raise Unreachable(self._connection, text, code=code)
        number = re.search(r"AADSTS(\d+)", text)
        remedy = REMEDIES.get(number[1] if number else "", "")
        if number and number[1] in _CLOCK and self._session is not None and self._session.ahead is not None:
            ahead = round(self._session.ahead.total_seconds())
            remedy += f": it is {abs(ahead)} seconds {'ahead of' if ahead > 0 else 'behind'} the service's"
        raise Denied(self._connection, text, code=code, request_id=str(answer.get("correlation_id") or ""),
                     remedy=remedy or "check client_id and that the app's secret or certificate has not expired")

    def _open(self) -> Any:
        import msal

        settings = self._settings
        secret, certificate = settings.get("client_secret"), settings.get("certificate")
        if not secret and not certificate:
            raise Denied(self._connection, "no token: there is neither client_secret nor certificate")
        credential: Any
        if certificate:
            pem = self._opened(certificate)
            _demand_rsa(pem)
            credential = {"private_key": pem, "public_certificate": _certificate(pem)}
        else:
            credential = self._opened(secret)
        authority = str(settings.get("authority") or "https://login.microsoftonline.com").rstrip("/")
        if not urlsplit(authority).path.strip("/"):
            authority += "/" + str(self._site.settings["tenant"]["id"])
        world = self._site.world
        plain = open_session({**settings, "url": authority}, world)
        session = self._session = _Session(self._connection, plain, world.clock)
        # The host is the one the inventory names: asking login.microsoftonline.com whether it is genuine
        # would reach out of the lab and out of a sovereign cloud.
        return msal.ConfidentialClientApplication(
            str(settings["client_id"]), client_credential=credential, authority=authority,
            http_client=session, validate_authority=False, instance_discovery=False)

    def _opened(self, value: Any) -> str:
        plain = value.open(self._site.world) if isinstance(value, Secret) else str(value)
        remember(plain, f"secret of {self._connection}")
        return plain


class _Session:
    """What msal asks of an HTTP client, with our bounds on every call.

    "Try later" never reaches msal, which would remember it by the machine's own clock and shape of error.
    """

    def __init__(self, connection: str, session: requests.Session, clock: Clock) -> None:
        self._connection = connection
        self._session = session
        self._clock = clock
        #: how much this machine's clock is ahead of the service's, by its last answer's Date
        self.ahead: timedelta | None = None

    def get(self, url: str, params: Any = None, headers: Any = None, **_: Any) -> requests.Response:
        return self._judged(self._session.get(url, params=params, headers=headers, allow_redirects=False,
                                              timeout=(CONNECT_SECONDS, READ_SECONDS)))

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None,
             **_: Any) -> requests.Response:
        if isinstance(data, Mapping) and data.get("client_assertion"):  # signed with the certificate, good for minutes
            remember(str(data["client_assertion"]), f"assertion of {self._connection}", passing=True)
        return self._judged(self._session.post(url, params=params, data=data, headers=headers, allow_redirects=False,
                                               timeout=(CONNECT_SECONDS, READ_SECONDS)))

    def close(self) -> None:
        self._session.close()

    def _judged(self, response: requests.Response) -> requests.Response:
        with contextlib.suppress(TypeError, ValueError):
            self.ahead = self._clock.now() - parsedate_to_datetime(response.headers.get("Date", ""))
        if response.status_code in THROTTLED | BROKEN:
            code = str(response.status_code)
            raise Unreachable(self._connection, f"no token: the sign-in service answers {code}", code=code,
                              retry_after=retry_after(response.headers, self._clock.now()))
        return response


def _claims(token: str) -> Mapping[str, Any] | None:
    """What a JSON Web Token says (RFC 7519), unverified: it is ours to use, not to trust. None for another form."""
    payload = token.split(".")
    try:
        found = json.loads(base64.urlsafe_b64decode(payload[1] + "=" * (-len(payload[1]) % 4)))
    except (IndexError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _demand_rsa(pem: str) -> None:
    """Raises ValueError: the sign-in service takes RSA keys only ("certificate credentials", Microsoft identity)."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise ValueError("the private key is encrypted: give it without a password, in a file of your own") from None
    except ValueError:  # its text may quote what it could not read
        raise ValueError("the PEM text holds no private key that can be read") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("the private key is not RSA, which the sign-in service asks for")


def _certificate(pem: str) -> str:
    found = re.search(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    if not found:
        raise ValueError("the PEM text holds no certificate beside the private key")
    return found[0]
