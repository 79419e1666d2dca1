"""The source as the world outside sees it: the names it is published under, by HTTPS, without signing in.

settings: `address` (host or host:port to connect to instead of what public DNS says, where this machine stands behind
the firewall), `ca_file` (authorities believed instead of the public ones). What is looked at is the certificate a
server presents and how it answers a request without credentials; nothing secret is sent this way, which is why a
certificate that does not verify is described here instead of refused. Only over `trusted_line` a password may go.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.connections.certificates import Presented, authorities, presented
from engine.connections.endpoint import host_and_port
from engine.contract import Unreachable

if TYPE_CHECKING:
    from engine.connections import Site

CONNECT_SECONDS = 15.0
#: Where Outlook Anywhere and the Exchange migration service ask (MS-RPCH).
RPC_PROXY = "/rpc/rpcproxy.dll"
AUTODISCOVER = "/autodiscover/autodiscover.xml"
#: Sign-ins in the order in which they are shown, as HTTP names them (RFC 7235, section 2.1).
_SIGN_INS = ("Basic", "Digest", "Negotiate", "NTLM")


@dataclass(frozen=True, slots=True)
class Answered:
    """How a published address answered a request without credentials.

    addresses  in public DNS                     words    what was seen, as a sentence's end
    status     of HTTP; None: no HTTP answer     sign_ins what 401 offered, as in ("Basic", "NTLM")
    """

    addresses: tuple[str, ...]
    words: str
    status: int | None = None
    sign_ins: tuple[str, ...] = ()

    @property
    def published(self) -> bool:
        """It stands there and asks who is calling."""
        return self.status == http.client.UNAUTHORIZED


class NotReached(Exception):
    """No line could be opened, for a reason that the world outside would meet as well. Text: a sentence's end."""


class Published:
    """The client. Keeps nothing open. Raises Fault only where public DNS itself cannot be asked."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._settings = settings
        self._site = site

    def close(self) -> None:
        """Nothing stays open between calls."""

    def asked(self, host: str, path: str = RPC_PROXY) -> Answered:
        """The answer to one GET. No answer is an observation here, not a fault: outside it is the same silence."""
        addresses = self._addresses(host)
        try:
            with self._line(host, addresses, self._context()) as line:
                return _get(line, host, path, addresses)
        except NotReached as error:
            return Answered(addresses, str(error))

    def trusted_line(self, host: str) -> ssl.SSLSocket:
        """A line over which a password may go: its certificate is believed and made for the name. Raises NotReached."""
        import certifi

        context = ssl.create_default_context(cafile=str(self._settings.get("ca_file") or certifi.where()))
        return self._line(host, self._addresses(host), context)

    def certificate(self, host: str) -> Presented:
        """What the server under this name presents, and everything that is wrong with it, at the clock's time."""
        roots = authorities(self._name, self._settings.get("ca_file"))
        addresses = self._addresses(host)
        try:
            with self._line(host, addresses, self._context()) as line:
                return presented(line, roots, self._site.world.clock.now())
        except NotReached as error:
            why = str(error)
        try:
            with self._line(host, addresses, self._context(ancient=True)) as line:
                why = f"it speaks {line.version()} only; the service's side wants TLS 1.2 or newer"
        except NotReached:
            pass  # the first reason says more
        return Presented(unreached=why)

    # -------------------------------------------------------------------------------------------------- inside

    def _addresses(self, host: str) -> tuple[str, ...]:
        """From public DNS, so that an internal view of the same name proves nothing (B-23)."""
        if self._site.has("dns"):
            return self._site.dns.servers.public_addresses(host)
        try:
            return tuple(sorted({str(each[4][0]) for each in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)}))
        except socket.gaierror as error:
            if error.errno == socket.EAI_NONAME:
                return ()
            raise Unreachable(self._name, f"{host} could not be looked up ({error.strerror})") from None

    def _context(self, *, ancient: bool = False) -> ssl.SSLContext:
        """A context that looks and does not judge: `certificates` judges, with a sentence for each fault."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if ancient:  # OpenSSL 3 speaks TLS 1.0 only when its security level is let down
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        else:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _line(self, host: str, addresses: tuple[str, ...], context: ssl.SSLContext) -> ssl.SSLSocket:
        if not addresses:
            raise NotReached(f"{host} has no address in public DNS")
        where, port = host_and_port(str(self._settings.get("address") or addresses[0]), 443)
        try:
            line = socket.create_connection((where, port), CONNECT_SECONDS)
        except TimeoutError:
            raise NotReached(f"no answer at port {port} within {CONNECT_SECONDS:.0f} seconds") from None
        except OSError as error:
            raise NotReached(f"no connection to port {port} ({error.strerror or type(error).__name__})") from None
        try:
            return context.wrap_socket(line, server_hostname=host)
        except ssl.SSLError as error:
            line.close()
            raise NotReached(f"no TLS handshake ({error.reason or 'refused'})") from None
        except OSError as error:
            line.close()
            raise NotReached(f"no TLS handshake ({error.strerror or 'the connection was closed'})") from None


def _get(line: ssl.SSLSocket, host: str, path: str, addresses: tuple[str, ...]) -> Answered:
    connection = http.client.HTTPConnection(host)
    connection.sock = line
    try:
        connection.request("GET", path, headers={"User-Agent": "mailmove", "Connection": "close"})
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise NotReached(f"no HTTP answer ({type(error).__name__})") from None
    finally:
        connection.close()
    offered = [each.split()[0].lower() for each in answer.headers.get_all("WWW-Authenticate") or () if each.split()]
    sign_ins = tuple(each for each in _SIGN_INS if each.lower() in offered)
    words = f"{answer.status} {answer.reason}".strip()
    if answer.status == http.client.UNAUTHORIZED:
        words += f", offers {', '.join(sign_ins) or 'no sign-in'}"
    return Answered(addresses, words, answer.status, sign_ins)
