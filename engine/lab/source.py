"""Serves the source organisation on loopback: DNS, LDAP, EWS and SMTP, each a thin shell around a core of bytes.

Around every request of every protocol: the kill switch's hooks, the fault that is due, and the counters.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import dns.flags
import trustme

from engine.lab import http, ldap
from engine.lab.counters import Counters
from engine.lab.directory import INVALID_CREDENTIALS
from engine.lab.dns import View, Zones
from engine.lab.ews import Ews
from engine.lab.facts import migration_errors
from engine.lab.faults import Faults
from engine.lab.mail import MailServer
from engine.lab.organisation import Cloud, Organisation
from engine.lab.published import Published

T = TypeVar("T")


class Traffic:
    """What happens around a request, whatever its protocol."""

    def __init__(self, faults: Faults, counters: Counters) -> None:
        self._faults = faults
        self._counters = counters

    async def carry(self, kind: str, handle: Callable[[], T], refuse: Callable[[str, int], T],
                    heard: bytes = b"") -> T | None:
        """The answer; None: it was handled, but the connection is to be cut without an answer.

        `refuse(verdict, seconds)` words a request that is not looked at: "throttle", "unavailable", or else the words
        themselves, which repeat what was `heard`.
        """
        await self._faults.arrived(kind)
        self._faults.heard = heard
        if (echoed := self._faults.echoed(kind)) is not None:
            return refuse(echoed[1], 0)
        verdict = self._faults.verdict(kind)
        with self._counters.request(kind):
            answer = refuse(*verdict) if verdict is not None and verdict[0] != "drop" else handle()
        await self._faults.answering()
        return None if verdict is not None and verdict[0] == "drop" else answer


    def refused_at_once(self, kind: str, heard: bytes) -> str:
        """The words of a refusal that repeats what was heard, where a protocol's server cannot wait; "" for none."""
        self._faults.heard = heard
        echoed = self._faults.echoed(kind)
        return "" if echoed is None else " ".join(echoed[1].split())


async def serve(organisation: Organisation, cloud: Cloud, faults: Faults, clock: object, host: str,
                ca: trustme.CA, folder: Path, counters: Counters) -> dict[str, Any]:
    """Start all listeners of the source on free ports of `host`.

    Answers the inventory's `connections` entries dns, directory, ews, published, smtp and source_smtp; secrets are
    plain text. Exchange 2003 has no Web Services: its `ews` entry names a list of counts, written into `folder`. The
    listeners live as long as the event loop.
    """
    organisation.effect = counters.effect
    organisation.cloud = cloud
    faults.change_password = organisation.change_password
    organisation.cloud_refuses = lambda: migration_errors()[faults.forwarding]["text"] if faults.forwarding else ""
    organisation.troubles = faults.accounts
    faults.parts["hire"] = organisation.hire
    traffic = Traffic(faults, counters)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(host, "localhost").configure_cert(context)
    ca_file = str(folder / "ca.pem")
    credentials = {"user": organisation.account, "password": organisation.password}
    connections: dict[str, Any] = {"dns": await _serve_dns(organisation.dns, traffic, host)}
    inside = connections["dns"]["internal"]
    connections["internal_dns"] = {
        "provider": "rfc2136", "servers": {zone: inside for zone in organisation.dns.names()},
        "update": {**connections["dns"]["update"], "server": inside[0]}}
    ldap_port = await _serve_ldap(organisation, traffic, host, context, ldaps=True)
    start_tls_port = await _serve_ldap(organisation, traffic, host, context, ldaps=False)
    connections["directory"] = {"host": host, "port": ldap_port, "tls": "ldaps", "start_tls_port": start_tls_port,
                                **credentials, "base": organisation.directory.base, "ca_file": ca_file}
    if organisation.exchange == "2003":
        counts = folder / "counts.csv"
        counts.write_text(counts_list(organisation), encoding="utf-8")
        connections["ews"] = {"provider": "list", "file": str(counts)}
    else:
        port = await _serve_ews(Ews(organisation), traffic, host, context)
        connections["ews"] = {"url": f"https://{host}:{port}/EWS/Exchange.asmx", **credentials,
                              "version": organisation.exchange, "ca_file": ca_file}
    connections["published"] = await _serve_published(organisation, faults, traffic, host, folder)
    sender = f"migration@{next(iter(organisation.domains))}"
    for name, submission in (("smtp", True), ("source_smtp", False)):
        port = await _serve_smtp(organisation, traffic, host, context, submission=submission)
        connections[name] = {"host": host, "port": port, "tls": "starttls", "sender": sender, "ca_file": ca_file,
                             **(credentials if submission else {})}
    return connections


def counts_list(organisation: Organisation) -> str:
    """What a 2003 administrator exports from System Manager: CSV of address, items and the date of export."""
    day = organisation.clock.now().date().isoformat()
    rows = [f"{mailbox.address},{mailbox.items},{day}" for mailbox in organisation.mailboxes.values()]
    return "\n".join(["address,items,exported", *rows, ""])


# --------------------------------------------------------------------------------------------------------- DNS


async def _serve_dns(zones: Zones, traffic: Traffic, host: str) -> dict[str, Any]:
    ports: dict[View, str] = {}
    views: tuple[View, ...] = ("ns1", "ns2", "resolver", "internal")
    for view in views:
        ports[view] = f"{host}:{await _listen_dns(zones, traffic, host, view)}"
    return {
        "provider": "rfc2136",
        "servers": {zone: [ports["ns1"], ports["ns2"]] for zone in zones.names()},
        "update": {"server": ports["ns1"], "key_name": zones.key_name, "algorithm": "hmac-sha256",
                   "secret": zones.secret},
        "resolvers": [ports["resolver"]],
        "internal": [ports["internal"]],
    }


async def _listen_dns(zones: Zones, traffic: Traffic, host: str, view: View) -> int:
    """UDP and TCP on one port, as DNS wants it. OSError when no common port is found in a few tries."""
    loop = asyncio.get_running_loop()

    async def answer(wire: bytes, *, udp: bool) -> bytes | None:
        kind = "dns update" if len(wire) > 2 and wire[2] >> 3 & 0xF == 5 else "dns query"
        return await traffic.carry(
            kind, lambda: zones.answer(wire, view, udp=udp), lambda verdict, seconds: _serv_fail(wire))

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                sent = await answer(await reader.readexactly(size), udp=False)
                if not sent:
                    writer.transport.abort()
                    return
                writer.write(len(sent).to_bytes(2, "big") + sent)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    for attempt in range(20):
        server = await asyncio.start_server(converse, host, 0)
        port = int(server.sockets[0].getsockname()[1])
        try:
            await loop.create_datagram_endpoint(lambda: _Datagrams(answer), local_addr=(host, port))
        except OSError:
            server.close()
            if attempt == 19:
                raise
            continue
        return port
    raise AssertionError("unreachable")


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[..., Any]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._reply(data, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, address: Any) -> None:
        sent = await self._answer(data, udp=True)
        if sent and self._transport is not None:
            self._transport.sendto(sent, address)


def _serv_fail(wire: bytes) -> bytes:
    """The request's own head with QR and SERVFAIL, its question kept."""
    flags = int.from_bytes(wire[2:4], "big") & 0x7900 | dns.flags.QR | 2
    return wire[:2] + flags.to_bytes(2, "big") + bytes(8) if len(wire) >= 12 else b""


# -------------------------------------------------------------------------------------------------------- LDAP


async def _serve_ldap(organisation: Organisation, traffic: Traffic, host: str, context: ssl.SSLContext, *,
                      ldaps: bool) -> int:
    def refusal(session: ldap.LdapSession, request: bytes, verdict: str) -> bytes:
        if verdict not in ("throttle", "unavailable"):
            return session.refuse(request, INVALID_CREDENTIALS, verdict)
        code = ldap.BUSY if verdict == "throttle" else ldap.UNAVAILABLE
        return session.refuse(request, code, "00000000: LdapErr: the server is busy" if code == ldap.BUSY else
                              "00000000: LdapErr: the server is not available")

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = ldap.LdapSession(organisation.directory, organisation.sign_in, protected=ldaps)
        try:
            while not session.closed and (data := await reader.read(65_536)):
                for request in session.receive(data):
                    answer = await traffic.carry(
                        ldap.kind_of(request), lambda request=request: session.handle(request),  # type: ignore[misc]
                        lambda verdict, seconds, request=request: refusal(session, request, verdict),  # type: ignore[misc]
                        heard=request)
                    if answer is None:
                        writer.transport.abort()
                        return
                    writer.write(answer)
                await writer.drain()
                if session.wants_tls:
                    await writer.start_tls(context)
                    session.wants_tls, session.protected = False, True
        except (ConnectionError, ssl.SSLError):
            pass  # the client went away
        finally:
            writer.close()

    server = await asyncio.start_server(converse, host, 0, ssl=context if ldaps else None)
    return int(server.sockets[0].getsockname()[1])


# ------------------------------------------------------------------------------------------------ EWS and SMTP


async def _serve_ews(ews: Ews, traffic: Traffic, host: str, context: ssl.SSLContext) -> int:
    from aiohttp import web

    def refusal(verdict: str, seconds: int) -> http.Response:
        if verdict == "throttle":
            return ews.fault("ErrorServerBusy", "The server cannot service this request right now. Try again later.",
                             seconds)
        if verdict != "unavailable":
            return ews.fault("ErrorAccessDenied", verdict)
        return http.Response(503, headers={"Retry-After": str(seconds)})

    async def carry(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = http.Request(request.method, request.path, dict(request.query),
                             {name.lower(): value for name, value in request.headers.items()}, body)
        answered = await traffic.carry(_ews_kind(body), lambda: ews.answer(asked), refusal,
                                       http.as_sent(request.method, request.path_qs, request.headers, body))
        if answered is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return web.Response(status=answered.status, body=answered.body, headers=dict(answered.headers))

    application = web.Application(client_max_size=http.BODY_BYTES_MAX)
    application.router.add_route("*", "/{path:.*}", carry)
    _, port = await http.listen(application, host, context)
    return port


def _ews_kind(body: bytes) -> str:
    known = ("GetFolder", "FindFolder", "GetUserOofSettings")
    return "ews " + next((name for name in known if b":" + name.encode() in body), "other")


async def _serve_published(organisation: Organisation, faults: Faults, traffic: Traffic, host: str,
                           folder: Path) -> dict[str, Any]:
    """The published name on a port of its own; the certificate it presents is one of many, so TLS begins by hand."""
    published = organisation.published = Published(
        organisation.mail_hosts[0], [f"autodiscover.{domain}" for domain in organisation.domains], folder,
        organisation.clock.now, has_autodiscover=organisation.exchange >= "2007",
        account_ok=organisation.account_ok, server_of=organisation.server_of)
    published.set(organisation.publishing)
    faults.parts["published"] = published.set

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if published.outlook_anywhere == "closed":
                writer.transport.abort()
                return
            await writer.start_tls(published.context())
            request = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\r\nContent-Length: (\d{1,5})\r\n", request, re.IGNORECASE)
            request += await reader.readexactly(int(length[1])) if length else b""
            answer = await traffic.carry("https published", lambda: published.answer(request),
                                         lambda verdict, seconds: b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
            if answer is None:
                writer.transport.abort()
                return
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # a client that only looked at the certificate, or did not like it
        finally:
            writer.close()

    server = await asyncio.start_server(converse, host, 0)
    return {"address": f"{host}:{server.sockets[0].getsockname()[1]}", "ca_file": str(published.ca_file)}


async def _serve_smtp(organisation: Organisation, traffic: Traffic, host: str, context: ssl.SSLContext, *,
                      submission: bool) -> int:
    async def carry(kind: str, handle: Callable[[], str], heard: bytes) -> str | None:
        return await traffic.carry(
            kind, handle, lambda verdict, seconds: "451 4.3.2 Try again later" if verdict in (
                "throttle", "unavailable") else f"550 5.7.1 {' '.join(verdict.split())}", heard)

    mail = MailServer(organisation, carry, context, traffic.refused_at_once, submission=submission)
    # Bound by hand: create_server with port 0 and a name could listen twice.
    listener = socket.create_server((host, 0))
    await asyncio.get_running_loop().create_server(mail.protocol, sock=listener)
    return int(listener.getsockname()[1])
