"""The one use of exchangelib: folder counts below a mailbox's top, in as few requests as the protocol allows.

Imported when the first mailbox is counted, for the library takes half a second to load.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from exchangelib import BASIC, DELEGATE, NTLM, UTC, Account, Build, Configuration, Credentials, FailFast, Version
from exchangelib.errors import ErrorItemNotFound, MalformedResponseError, TransportError
from exchangelib.fields import FieldPath
from exchangelib.folders import DEEP, Folder, MsgFolderRoot, Root
from exchangelib.items import ID_ONLY
from exchangelib.protocol import BaseProtocol, Protocol
from exchangelib.services import FindFolder
from requests.adapters import HTTPAdapter

#: Folders in one answer (Exchange 2010 and later; before, all come at once).
PAGE_FOLDERS = 1000
#: More pages than any mailbox has: Exchange allows 10,000 folders below one ("Exchange Online limits").
PAGES_MAX = 100

# At any level it may write requests, with their headers, into a log. Faults say what is worth saying.
logging.getLogger("exchangelib").setLevel(logging.CRITICAL + 1)


class _Trusting(HTTPAdapter):
    """Verifies by the authority that its host's connection names. The library takes one adapter for the process."""

    authorities: ClassVar[dict[str, str]] = {}

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        options["verify"] = self.authorities.get(urlsplit(str(request.url)).netloc, True)
        options["proxies"] = {}  # the source lies inside; the environment's proxy leads outside
        return super().send(request, *arguments, **options)


class _Forward(FindFolder):  # type: ignore[misc]
    """Pages that come to an end: the library goes on for ever where a server says "there is more" each time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reached, self._pages = 0, 0

    def _get_page(self, message: Any) -> tuple[Any, int | None]:
        page, offset = super()._get_page(message)
        self._pages += 1
        if offset is not None and (offset <= self._reached or self._pages >= PAGES_MAX):
            raise MalformedResponseError("the pages of folders do not come to an end")
        self._reached = offset or self._reached
        return page, offset


def configuration(url: str, user: str, password: str, *, build: tuple[int, int, int, int], ca_file: str | None,
                  authentication: str | None, lines_max: int, answer_seconds: int) -> Any:
    """A service with pinned version, and with no guessing but for the way to sign in where none is given.

    Raises requests' and exchangelib's own errors.
    """
    BaseProtocol.HTTP_ADAPTER_CLS = _Trusting
    BaseProtocol.TIMEOUT = answer_seconds
    if ca_file:
        _Trusting.authorities[urlsplit(url).netloc] = str(ca_file)
    ways = {"basic": BASIC, "ntlm": NTLM}
    way = ways[authentication.lower()] if authentication else _offered(url, answer_seconds)
    return Configuration(service_endpoint=url, credentials=Credentials(user, password), auth_type=way,
                         version=Version(Build(*build)), retry_policy=FailFast(), max_connections=lines_max)


def _offered(url: str, answer_seconds: int) -> str:
    """Integrated sign-in where the server offers it, for it sends no password."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", _Trusting(max_retries=0))
        offers = session.get(url, allow_redirects=False, timeout=answer_seconds).headers.get("WWW-Authenticate", "")
    if "ntlm" in offers.lower() or "negotiate" in offers.lower():
        return str(NTLM)
    if "basic" in offers.lower():
        return str(BASIC)
    raise TransportError(f"{url} offers no sign-in that is known here: {offers or 'none'}")


def automatic_reply(service: Any, address: str) -> tuple[str, str, str, Any, Any]:
    """State (Enabled, Scheduled, Disabled), both texts (HTML), start and end of a mailbox's automatic reply."""
    account = Account(address, config=service, autodiscover=False, access_type=DELEGATE, default_timezone=UTC)
    found = account.oof_settings
    if found is None:
        raise MalformedResponseError("the answer holds no settings")
    return (str(found.state), str(found.internal_reply or ""), str(found.external_reply or ""), found.start, found.end)


def close(service: Any) -> None:
    """Close the service's lines. The library keeps one set per url and account for the process."""
    with suppress(KeyError):
        Protocol[service][0].close()
        del Protocol[service]


def total_count(service: Any, address: str) -> int:
    """Items in all folders below "Top of Information Store", itself included. One request, more for many folders."""
    account = Account(address, config=service, autodiscover=False, access_type=DELEGATE, default_timezone=UTC)
    top = MsgFolderRoot(root=Root(account=account))
    top.to_id()  # before it becomes a key: its hash changes when it first learns its own id
    found = _Forward(account=account, page_size=PAGE_FOLDERS).call(
        folders=[top], additional_fields={FieldPath(field=Folder.get_field_by_fieldname("total_count"))},
        restriction=None, shape=ID_ONLY, depth=DEEP, max_items=None, offset=0)
    counts = []
    for folder in found:
        if isinstance(folder, Exception):
            raise folder
        counts.append(folder.total_count)
    if not counts or None in counts:
        raise ErrorItemNotFound("the folders do not tell how many items they hold")
    return sum(counts)
