"""HTTPS calls to a cloud service: pooled, bounded, throttled and judged, so that clients only say what they want.

One `Http` per connection. Inside one `call` a request is tried up to TRIES times within BUDGET: what was
throttled waits exactly as long as the service says (RFC 9110, section 10.2.3), and so does every other thread of
the connection. A write whose answer got lost is InDoubt and never sent again; a read is. TLS is always verified.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from engine.connections.endpoint import opened
from engine.connections.redaction import redacted
from engine.contract import Denied, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site
    from engine.connections.tokens import Tokens
    from engine.world import World

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
#: The whole answer, not only its next byte, must be there after this long (C7).
ANSWER_SECONDS_MAX = 300.0
ANSWER_BYTES_MAX = 32 * 1024 * 1024
TRIES = 6
BUDGET = timedelta(minutes=10)
BACK_OFF_SECONDS_MAX = 120.0
#: A service that asks for a longer pause is asked again after this one.
RETRY_AFTER_SECONDS_MAX = 86_400.0
POOL_SIZE = 16
TEXT_LENGTH_MAX = 1_000
PROXY_REMEDY = "write proxy: !secret …, an address with user and password: http://user:password@proxy:8080"

#: Asked to come later; the request was not carried out. RFC 6585 (429), RFC 9110 (408, 503).
THROTTLED = frozenset({408, 429, 503})
#: The service, or a gateway before it, broke: a write may have been carried out.
BROKEN = frozenset({500, 502, 504})

_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|\[?::1\]?")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `data` is the parsed JSON; None for an empty body; the text where it is not JSON."""

    status: int
    headers: Mapping[str, str]
    data: Any

    @property
    def request_id(self) -> str:
        return self.headers.get("request-id") or self.headers.get("client-request-id") or ""


@dataclass(frozen=True, slots=True)
class Said:
    """What an error answer says. passing: "try later" in words; considered: the service itself refused."""

    code: str
    text: str
    passing: bool = False
    considered: bool = False


def odata_error(answer: Answer) -> Said:
    """The error object of OData JSON Format 4.0, section 19, as Graph fills it."""
    error = answer.data.get("error") if isinstance(answer.data, dict) else None
    if not isinstance(error, dict):
        return Said("", str(answer.data or f"HTTP {answer.status}"))
    code = str(error.get("code") or "")
    return Said(code, str(error.get("message") or code), considered=bool(code))


class _NotSentError(Exception):
    """The connection could not be made: the request has not left."""


class _LostError(Exception):
    """The request may have left, and its answer did not come whole."""


class _UselessError(_LostError):
    """The answer came and cannot be used; another one would be no better."""


class Http:
    """Calls of one connection. Thread-safe.

    settings: `ca_file` (PEM, instead of the public authorities), `proxy` (URL, instead of the environment's).
    `rights` are named in Denied; `explain` reads the service's form of error.
    """

    def __init__(self, connection: str, settings: Mapping[str, Any], site: Site, *, rights: str = "",
                 explain: Callable[[Answer], Said] = odata_error) -> None:
        self.connection = connection
        self._site = site
        self._rights = rights
        self._explain = explain
        self._pause_until: datetime | None = None
        #: our clock minus the service's, by the Date of its latest answer; None before the first
        self.ahead: timedelta | None = None
        self._lock = threading.Lock()
        self.session = open_session(settings, site.world)
        self.tokens: Tokens | None = None

    def close(self) -> None:
        self.session.close()

    def call(self, method: str, url: str, *, write: bool, body: Any = None,
             headers: Mapping[str, str] | None = None, read_seconds: float = READ_SECONDS,
             tries: int = TRIES) -> Answer:
        """One request, answered with a 2xx. Raises Unreachable, Denied, Rejected, and – for writes – InDoubt.

        `write` says whether carrying it out twice could do harm. Rejected and Denied have the HTTP status, then
        the service's own code in `code` ("400 Request_BadRequest").
        """
        if not url.startswith("https://"):
            raise Rejected(self.connection, "only https is called", remedy="check the url of the connection")
        clock = self._site.world.clock
        started = clock.now()
        renewed = False
        tried = 0
        while True:
            self.pause(started)
            tried += 1
            try:
                token = self.tokens.current() if self.tokens else None
                self._site.before_call()
                answer = self._send(method, url, body, headers or {}, token, read_seconds)
            except Unreachable as lost:  # no token: the request has not left either
                why, wait = Said(lost.code, lost.text), lost.retry_after
            except _NotSentError as lost:
                why, wait = Said("", str(lost)), None
            except _LostError as lost:
                if write:
                    raise InDoubt(self.connection, f"{lost}; it may or may not have been done") from None
                if isinstance(lost, _UselessError):
                    raise Rejected(self.connection, str(lost)) from None
                why, wait = Said("", str(lost)), None
            else:
                if 200 <= answer.status < 300:
                    return answer
                if answer.status == 401 and self.tokens and token is not None and not renewed:
                    self.tokens.renew(token, _claims(answer))
                    renewed = True
                    continue
                why, wait = self._judge(answer, write), retry_after(answer.headers, clock.now())
                if wait is not None:
                    self.hold_back(wait)
            if wait is None:
                wait = self._back_off(tried)
            if tried >= tries or clock.now() + timedelta(seconds=wait) > started + BUDGET:
                raise Unreachable(self.connection, self.redact(why.text), code=why.code, retry_after=wait)
            clock.sleep(wait)

    def pause(self, started: datetime) -> None:
        """Wait while the service has asked for it. Raises Unreachable when that outlasts the budget."""
        clock = self._site.world.clock
        while True:
            with self._lock:
                until = self._pause_until
            left = (until - clock.now()).total_seconds() if until else 0.0
            if left <= 0:
                return
            if until is not None and until > started + BUDGET:
                raise Unreachable(self.connection, "the service asked for a pause that is not over",
                                  code="429", retry_after=left)
            clock.sleep(left)

    def hold_back(self, seconds: float) -> None:
        """From now on nobody calls this connection for so long."""
        with self._lock:
            until = self._site.world.clock.now() + timedelta(seconds=seconds)
            self._pause_until = max(until, self._pause_until or until)

    def _back_off(self, tried: int) -> float:
        return min(BACK_OFF_SECONDS_MAX, 2.0 ** tried * self._site.world.random.uniform(0.5, 1.5))

    def _send(self, method: str, url: str, body: Any, headers: Mapping[str, str], token: str | None,
              read_seconds: float) -> Answer:
        world = self._site.world
        request_id = str(uuid.UUID(int=world.random.getrandbits(128)))
        sent = {"Accept": "application/json", "client-request-id": request_id, **headers}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            sent["Content-Type"] = "application/json; charset=utf-8"
        begun = world.clock.now()
        try:
            with self.session.request(method, url, data=data, headers=sent, allow_redirects=False, stream=True,
                                      timeout=(CONNECT_SECONDS, read_seconds)) as response:
                content = bytearray()
                for piece in response.iter_content(65_536):
                    content += piece
                    if len(content) > ANSWER_BYTES_MAX:
                        raise _UselessError(f"the answer is larger than {ANSWER_BYTES_MAX // 2**20} MiB")
                    if (world.clock.now() - begun).total_seconds() > max(ANSWER_SECONDS_MAX, read_seconds):
                        raise _LostError("the answer did not end in time")
                self._compare_clocks(response.headers.get("Date"), begun)
        except requests.RequestException as error:
            self._sort(error, url)
        return _answer(response.status_code, response.headers, bytes(content))

    def _compare_clocks(self, date: str | None, begun: datetime) -> None:
        """The service's own clock, of a second's precision (RFC 9110, section 6.6.1), against ours."""
        if date:
            with contextlib.suppress(TypeError, ValueError):
                self.ahead = begun - _aware(parsedate_to_datetime(date))

    def _sort(self, error: requests.RequestException, url: str) -> NoReturn:
        """Did the request leave? Only what urllib3 says for certain counts as "no"."""
        host = urlsplit(url).netloc
        reason: Any = error.args[0] if error.args else None
        reason = getattr(reason, "reason", reason)
        if isinstance(reason, urllib3.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(reason):
            raise Rejected(self.connection, f"the certificate of {host} is not trusted", code="TLS", remedy=(
                "name the authority that issued it with ca_file, or mend the certificate")) from None
        unsent = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError,
                  urllib3.exceptions.ProxyError)
        if isinstance(reason, urllib3.exceptions.ProxyError):
            self._proxy_refused(reason, host)
        if isinstance(error, requests.ConnectTimeout) or isinstance(reason, unsent):
            raise _NotSentError(f"no connection to {host}") from None
        if isinstance(error, requests.Timeout):
            raise _LostError(f"{host} did not answer in time") from None
        raise _LostError(f"the connection to {host} broke ({type(reason or error).__name__})") from None

    def _proxy_refused(self, reason: urllib3.exceptions.ProxyError, host: str) -> NoReturn:
        """Nothing has reached the service. The proxy's own number is in its words only."""
        said = str(reason.original_error)
        if "407" in said:
            raise Denied(self.connection, f"the proxy before {host} wants a sign-in", code="407",
                         remedy=PROXY_REMEDY) from None
        raise _NotSentError(f"no connection to {host} through the proxy ({self.redact(said)})") from None

    def _judge(self, answer: Answer, write: bool) -> Said:
        """Returns where asking again may help; raises otherwise."""
        said = self._explain(answer)
        code, text = f"{answer.status} {said.code}".strip(), self.redact(said.text)
        request_id = answer.request_id
        if answer.status in THROTTLED or said.passing:
            return Said(code, text or f"HTTP {answer.status}")
        if answer.status in BROKEN and not said.considered:
            if write:
                raise InDoubt(self.connection, f"{text or code}; it may or may not have been done",
                              code=code, request_id=request_id)
            return Said(code, text or f"HTTP {answer.status}")
        if answer.status in (401, 403):
            raise Denied(self.connection, text or f"HTTP {answer.status}", code=code, request_id=request_id,
                         remedy=f"the account needs: {self._rights}" if self._rights else "")
        if 300 <= answer.status < 400:
            raise Rejected(self.connection, "the service answered with a redirect, which is not followed",
                           code=code, remedy="check the url of the connection")
        raise Rejected(self.connection, text or f"HTTP {answer.status}", code=code, request_id=request_id)

    def redact(self, text: str) -> str:
        """A server's words without tokens and secrets, at most TEXT_LENGTH_MAX characters."""
        clean = redacted(text)
        return clean if len(clean) <= TEXT_LENGTH_MAX else clean[:TEXT_LENGTH_MAX] + " …"

    def follow(self, base: str, link: Any) -> str:
        """A next page's address, which must lie on the host that was called. Raises Rejected."""
        if not isinstance(link, str) or urlsplit(link)[:2] != urlsplit(base)[:2]:
            raise Rejected(self.connection, "the next page lies on another host, which is not called")
        return link


def open_session(settings: Mapping[str, Any], world: World) -> requests.Session:
    """A pooled session that trusts the settings only: no .netrc, no cookies, no other authorities.

    The proxy is that of the settings (a secret where it holds a password), else the environment's HTTPS_PROXY.
    """
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.verify = str(settings["ca_file"]) if settings.get("ca_file") else True
    session.mount("https://", HTTPAdapter(pool_connections=2, pool_maxsize=POOL_SIZE, max_retries=0))
    proxy = opened(settings.get("proxy"), world) or _proxy(world.environment, str(settings.get("url", "")))
    if proxy:
        session.proxies = {"https": proxy}
    return session


def _proxy(environment: Mapping[str, str], url: str) -> str | None:
    """HTTPS_PROXY, unless NO_PROXY names the host; loopback is never reached through a proxy."""
    host = (urlsplit(url).hostname or "").lower()
    if _LOOPBACK.fullmatch(host):
        return None
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    for name in (each.strip().lower().lstrip(".") for each in exempt.split(",")):
        if name == "*" or (name and (host == name or host.endswith("." + name))):
            return None
    return environment.get("HTTPS_PROXY") or environment.get("https_proxy") or None


def _answer(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    answer = Answer(status, headers, _parsed(content))
    if status < 300 and isinstance(answer.data, str):
        raise _UselessError("the answer is not JSON")
    return answer


def _parsed(content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content[:4 * TEXT_LENGTH_MAX].decode("utf-8", "replace")


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds the answer asks to wait; a date is measured against the server's own clock, where it shows one."""
    text = headers.get("Retry-After") or headers.get("retry-after")
    if not text:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return min(float(text), RETRY_AFTER_SECONDS_MAX)
    try:
        when = parsedate_to_datetime(text)
        shown = headers.get("Date")
        base = parsedate_to_datetime(shown) if shown else now
        return min(max(0.0, (_aware(when) - _aware(base)).total_seconds()), RETRY_AFTER_SECONDS_MAX)
    except (TypeError, ValueError, OverflowError):
        return None


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _claims(answer: Answer) -> str | None:
    """The claims challenge of continuous access evaluation (Microsoft Learn, "Claims challenges")."""
    found = re.search(r'claims="([^"]+)"', answer.headers.get("WWW-Authenticate", ""))
    if not found:
        return None
    import base64

    try:
        return base64.b64decode(found[1] + "=" * (-len(found[1]) % 4)).decode()
    except ValueError:
        return None
