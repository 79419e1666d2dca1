"""How many items a source mailbox holds: by Exchange Web Services, or by a list a person has exported.

settings: `url`, `user`, `password`, `version` (2007 | 2010 | 2013), `ca_file`, `authentication` (basic | ntlm; default:
as the server offers). Exchange 2003 has no such service: `provider: list` and `file`, a CSV with the columns address,
items, exported (a date). Counted is what lies below "Top of Information Store", which is what a migration copies; the
account needs Full Access (delegate), as the migration itself does.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from engine.connections.endpoint import SignIn, opened, untrusted
from engine.connections.redaction import redacted
from engine.contract import Denied, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site

T = TypeVar("T")

RIGHTS = "Full Access to the mailbox (Add-MailboxPermission), or Receive-As on its database"
ANSWER_SECONDS = 120
LINES_MAX = 4
#: Builds by which requests and answers are worded; the newest service pack of each release.
BUILDS = {"2007": (8, 3, 0, 0), "2010": (14, 3, 0, 0), "2013": (15, 0, 847, 32)}
COLUMNS = ("address", "items", "exported")


@dataclass(frozen=True, slots=True)
class Counted:
    """Items of one mailbox, and when that was true (UTC)."""

    items: int
    read_at: datetime


@dataclass(frozen=True, slots=True)
class AutomaticReply:
    """An out-of-office setting. state: Disabled, Enabled, Scheduled (then with start and end, UTC); texts are HTML."""

    state: str
    inside: str = ""
    outside: str = ""
    start: datetime | None = None
    end: datetime | None = None


class Ews:
    """The client. Thread-safe. Every method raises Fault."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._settings = settings
        self._site = site
        self._lock = threading.Lock()
        self._sign_in = SignIn(site.world.clock)
        self._service: Any = None
        self._host = urlsplit(str(settings.get("url") or "")).netloc

    def close(self) -> None:
        with self._lock:
            service, self._service = self._service, None
        if service is not None:
            from engine.connections.ews_folders import close

            close(service)

    def count(self, address: str) -> Counted:
        """Items in the folders a person sees. Costs one request (after the first mailbox).

        Raises Rejected when there is no such mailbox or no such line, Denied without Full Access.
        """
        if self._settings.get("provider") == "list":
            listed = self._listed()
            if address.lower() not in listed:
                raise Rejected(self._name, f"{self._settings['file']} does not list {address}",
                               remedy="export the list anew and name it under connections: ews: file:")
            return listed[address.lower()]
        from engine.connections.ews_folders import total_count

        return Counted(self._asked(total_count, address), self._site.world.clock.now())

    def automatic_reply(self, address: str) -> AutomaticReply:
        """The out-of-office setting of a mailbox, with its texts: people's words, so nothing of it is recorded.

        Raises as `count` does, and Rejected with a list in place of the service: Exchange 2003 cannot be asked.
        """
        if self._settings.get("provider") == "list":
            raise Rejected(self._name, "a list tells no out-of-office texts", remedy="ask the users to set them anew")
        from engine.connections.ews_folders import automatic_reply

        state, inside, outside, start, end = self._asked(automatic_reply, address)
        return AutomaticReply(state, inside, outside, *((start, end) if state == "Scheduled" else (None, None)))

    # -------------------------------------------------------------------------------------------- by a list

    def _listed(self) -> Mapping[str, Counted]:
        return self._site.listing(self._name, "counts", self._read_list)

    def _read_list(self) -> Mapping[str, Counted]:
        path = Path(str(self._settings.get("file") or ""))
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise Rejected(self._name, f"{path}: {reason}", remedy="name the exported list with file:") from None
        rows = csv.DictReader(lines)
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            raise Rejected(self._name, f"{path}: its first line must name the columns {', '.join(COLUMNS)}")
        found: dict[str, Counted] = {}
        for number, row in enumerate(rows, 2):
            address = (row["address"] or "").strip().lower()
            try:
                exported = datetime.fromisoformat((row["exported"] or "").strip())
                items = int(row["items"] or "")
            except ValueError:
                raise Rejected(self._name, f"{path}:{number}: items is a number, exported a date (2026-03-01)") \
                    from None
            if address in found:
                raise Rejected(self._name, f"{path}:{number}: {address} stands there twice")
            found[address] = Counted(items, exported if exported.tzinfo else exported.replace(tzinfo=UTC))
        return found

    # ----------------------------------------------------------------------------------------- by the service

    def _asked(self, ask: Callable[[Any, str], T], address: str) -> T:
        """One question about a mailbox; what the library raises about its answer as a Fault."""
        import requests
        from exchangelib.errors import EWSError

        self._sign_in.check()
        try:
            return ask(self._configuration(), address)
        except requests.RequestException as error:
            self._not_reached(error)
        except EWSError as error:
            self._refused(error, address)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            # the library reads what it is given without looking twice
            raise Rejected(self._name, f"{self._host}: the answer has a form that is not known "
                           f"({type(error).__name__})", code="malformed") from None

    def _configuration(self) -> Any:
        from engine.connections.ews_folders import configuration

        with self._lock:
            if self._service is None:
                password = opened(self._settings.get("password"), self._site.world)
                version = str(self._settings.get("version") or "2010")
                if version not in BUILDS:
                    raise Rejected(self._name, f"version: {version!r} is none of {', '.join(BUILDS)}")
                self._service = configuration(
                    str(self._settings.get("url") or ""), str(self._settings.get("user") or ""), password,
                    build=BUILDS[version], ca_file=self._settings.get("ca_file"),
                    authentication=self._settings.get("authentication"), lines_max=LINES_MAX,
                    answer_seconds=ANSWER_SECONDS)
            return self._service

    def _not_reached(self, error: Exception) -> NoReturn:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise untrusted(self._name, self._host) from None
        raise Unreachable(self._name, f"{self._host} did not answer ({type(error).__name__})") from None

    def _refused(self, error: Exception, address: str) -> NoReturn:
        """By the class, which is the service's response code ("ResponseCode", EWS reference)."""
        from exchangelib import errors

        code, words = type(error).__name__, redacted(" ".join(str(error).split()))[:500]
        if "CERTIFICATE_VERIFY_FAILED" in words:
            raise untrusted(self._name, self._host) from None
        if isinstance(error, errors.ErrorServerBusy):
            pause = getattr(error, "back_off", None)
            raise Unreachable(self._name, words or "busy", code=code,
                              retry_after=float(pause) if pause else None) from None
        if isinstance(error, errors.UnauthorizedError):
            raise self._sign_in.refused(Denied(
                self._name, f"{self._host} refuses the sign-in", code=code,
                remedy="correct user and password of the connection")) from None
        if isinstance(error, errors.ErrorAccessDenied | errors.ErrorImpersonateUserDenied | errors.ErrorItemNotFound):
            raise Denied(self._name, f"{address}: {words or code}", code=code,
                         remedy=f"the account needs: {RIGHTS}") from None
        if isinstance(error, errors.ErrorNonExistentMailbox | errors.ErrorFolderNotFound):
            raise Rejected(self._name, f"{address}: {words or code}", code=code,
                           remedy="was it converted or removed already?") from None
        passing = (errors.TransportError, errors.ErrorTimeoutExpired, errors.ErrorInternalServerTransientError,
                   errors.ErrorMailboxMoveInProgress, errors.ErrorMailboxStoreUnavailable, errors.ErrorConnectionFailed,
                   errors.ErrorInternalServerError, errors.ErrorMailboxFailover)
        if isinstance(error, passing) and not isinstance(error, errors.MalformedResponseError | errors.RedirectError):
            raise Unreachable(self._name, f"{self._host}: {words or code}", code=code) from None
        raise Rejected(self._name, f"{address}: {words or code}", code=code) from None
