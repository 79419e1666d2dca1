"""Many DNS questions at once over one UDP socket, each to the server it is for; TCP where an answer was cut.

A reply counts only from the address that was asked, with the id and the question that were sent. What stays silent
is asked again; what never answers is said in words, and is never an absence (RFC 8020 is about NXDOMAIN alone).
"""

from __future__ import annotations

import selectors
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple, TypeAlias

import dns.entropy
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype

#: A round ends when nothing has come for so long; then what is missing is asked again.
SILENCE_SECONDS = 2.0
ROUNDS = 3
IN_FLIGHT = 64
TCP_SECONDS = 10.0

#: Codes that may be another at the next try.
_PASSING = frozenset({dns.rcode.SERVFAIL})


class Asked(NamedTuple):
    """One question. host: an IP address; recursive: asks a resolver to find out."""

    host: str
    port: int
    name: dns.name.Name
    kind: dns.rdatatype.RdataType
    recursive: bool = False


#: What came back, or in words why nothing did.
Reply: TypeAlias = "dns.message.Message | str"


def ask(questions: Sequence[Asked]) -> list[Reply]:
    """A reply for each question, in order. Takes ROUNDS x SILENCE_SECONDS at worst for each IN_FLIGHT questions."""
    replies: list[Reply] = ["no answer"] * len(questions)
    left = list(range(len(questions)))
    for _ in range(ROUNDS):
        for place, reply in _round(questions, left):
            replies[place] = reply
        left = [place for place in left if _again(replies[place])]
        if not left:
            break
    for place, reply in enumerate(replies):
        if not isinstance(reply, str) and reply.flags & dns.flags.TC:
            replies[place] = ask_tcp(questions[place])
    return replies


def ask_tcp(question: Asked) -> Reply:
    """The same question over TCP (RFC 7766)."""
    try:
        return dns.query.tcp(_query(question), question.host, TCP_SECONDS, question.port)
    except (OSError, EOFError, dns.exception.DNSException) as error:
        return f"no answer over TCP ({type(error).__name__})"


def _again(reply: Reply) -> bool:
    return isinstance(reply, str) or reply.rcode() in _PASSING


def _query(question: Asked) -> dns.message.QueryMessage:
    return dns.message.make_query(question.name, question.kind, flags=dns.flags.RD if question.recursive else 0)


def _round(questions: Sequence[Asked], places: Sequence[int]) -> Iterator[tuple[int, Reply]]:
    """Send everything once, IN_FLIGHT at a time, and yield what comes."""
    todo = deque(places)
    waiting: dict[tuple[str, int, int], tuple[int, dns.message.QueryMessage]] = {}
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        sockets: dict[int, socket.socket] = {}
        while todo or waiting:
            while todo and len(waiting) < IN_FLIGHT:
                place = todo.popleft()
                question = questions[place]
                query = _query(question)
                while (question.host, question.port, query.id) in waiting:
                    query.id = dns.entropy.random_16()
                family = socket.AF_INET6 if ":" in question.host else socket.AF_INET
                try:
                    if family not in sockets:
                        sockets[family] = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                        selector.register(sockets[family], selectors.EVENT_READ)
                    sockets[family].sendto(query.to_wire(), (question.host, question.port))
                except OSError as error:
                    yield place, f"not reachable ({error.strerror or type(error).__name__})"
                    continue
                waiting[question.host, question.port, query.id] = place, query
            ready = selector.select(SILENCE_SECONDS) if waiting else []
            if not ready:
                waiting.clear()
                continue
            for key, _ in ready:
                found = _received(key.fileobj, waiting)  # type: ignore[arg-type]
                if found is not None:
                    yield found


def _received(sock: socket.socket,
              waiting: dict[tuple[str, int, int], tuple[int, dns.message.QueryMessage]]) -> tuple[int, Reply] | None:
    """One datagram, if it answers a question that waits; anything else is passed over."""
    try:
        data, (host, port, *_) = sock.recvfrom(65_535)
    except OSError:
        return None  # some systems report an earlier datagram's fate here; silence says the same
    sent = waiting.get((host, port, int.from_bytes(data[:2], "big")))
    if sent is None:
        return None
    place, query = sent
    try:
        reply = dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError):
        return None
    if not query.is_response(reply):
        return None
    del waiting[host, port, query.id]
    return place, reply
