"""What Autodiscover tells a client that signs in, as the migration service asks it (B-22).

The Outlook provider's plain XML ([MS-OXDSCLI], sections 3.1 and 2.2.4): EXPR is Outlook Anywhere as it is reached from
outside, EXCH the mailbox server. Asked as the account of the `ews` connection; its password leaves only over a line
whose certificate is believed and made for the name asked. Met: the lab. Never met: an Exchange server.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from engine.connections.endpoint import opened
from engine.connections.published import AUTODISCOVER, NotReached

if TYPE_CHECKING:
    from engine.connections import Site

_ASKED = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"
_ANSWERED = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
ANSWER_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Told:
    """The settings of one mailbox. proxy: of its EXPR section, "" where there is none; server: of EXCH.

    asked  whether an answer was had at all; where not, `words` say why, and nothing is known of the settings
    """

    asked: bool
    words: str
    proxy: str = ""
    server: str = ""
    sign_in: str = ""


def host_of(address: str) -> str:
    """Where the service asks for a mailbox: the second address it tries, and the usual one."""
    return f"autodiscover.{address.rpartition('@')[2]}"


def told(site: Site, host: str, address: str) -> Told:
    """What the server under this name says of the mailbox. Raises Fault where public DNS cannot be asked."""
    account = site.settings_of("ews")
    if not account.get("user"):
        return Told(False, "the inventory has no account to ask it with (connections: ews)")
    password = opened(account.get("password"), site.world)
    signed = base64.b64encode(f"{account['user']}:{password}".encode()).decode()
    body = (f'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="{_ASKED}"><Request>'
            f"<EMailAddress>{escape(address)}</EMailAddress>"
            f"<AcceptableResponseSchema>{_ANSWERED}</AcceptableResponseSchema></Request></Autodiscover>").encode()
    try:
        with site.published.trusted_line(host) as line:
            return _read(*_exchanged(line, host, body, signed))
    except NotReached as error:
        return Told(False, str(error))


def _exchanged(line: ssl.SSLSocket, host: str, body: bytes, signed: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(host)
    connection.sock = line
    try:
        connection.request("POST", AUTODISCOVER, body, {
            "Content-Type": "text/xml; charset=utf-8", "Authorization": f"Basic {signed}", "User-Agent": "mailmove",
            "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.reason, answer.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise NotReached(f"no HTTP answer ({type(error).__name__})") from None
    finally:
        connection.close()


def _read(status: int, reason: str, body: bytes) -> Told:
    if status == http.client.UNAUTHORIZED:
        return Told(False, "it refuses the account of the connection ews, or lets nobody sign in with Basic")
    if status != http.client.OK:
        return Told(False, f"{status} {reason}".strip())
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        return Told(False, "its answer defines entities, and is not read")
    try:
        tree = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return Told(False, "its answer is no XML")
    message = _text(tree, "Message")
    if message:
        return Told(True, f"it answers: {' '.join(message.split())[:200]}")
    sections = {_text(each, "Type"): each for each in tree.iter() if _name(each) == "Protocol"}
    outside, inside = sections.get("EXPR"), sections.get("EXCH")
    server = _text(inside, "Server")
    if outside is None or not _text(outside, "Server"):
        return Told(True, "it names no Outlook Anywhere (its answer has no EXPR section)", "", server)
    proxy, sign_in = _text(outside, "Server"), _text(outside, "AuthPackage")
    behind = f" before {server}" if server else ""
    words = f"Outlook Anywhere at {proxy}{behind}, {sign_in or 'any'} sign-in"
    return Told(True, words, proxy.lower(), server, sign_in)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element | None, name: str) -> str:
    """The text of the first such element below; "" for none."""
    if element is None:
        return ""
    return next(((each.text or "").strip() for each in element.iter() if _name(each) == name), "")
