"""The lab's end of the carrier: an event loop in which only the lab's own work happens, and its ends of the lines."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import events
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

HOST = "127.0.0.1"
FIRST_PORT = 20_000


class Asker(Protocol):
    """Who has sent a datagram, and reads what comes back from here."""

    datagrams: deque[tuple[bytes, tuple[str, int]]]


class Pipe(asyncio.Transport):
    """The lab's end of a line."""

    _start_tls_compatible = True

    def __init__(self, loop: Loop, protocol: asyncio.BaseProtocol, port: int, tls: object) -> None:
        super().__init__({"peername": (HOST, 1), "sockname": (HOST, port), "sslcontext": tls})
        self.loop = loop
        self.protocol = protocol
        self.sent: deque[bytes] = deque()
        self.ended = False
        self.kept: list[bytes] = []
        self.paused = False
        self.closing = False
        loop.call_soon(protocol.connection_made, self)

    # what a transport can do

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        if not self.ended and data:
            self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return not self.paused

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        kept, self.kept = self.kept, []
        for data in kept:
            self.deliver(data)

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass  # the other end takes all there is

    def close(self) -> None:
        if not self.closing:
            self.closing = self.ended = True
            if not self.loop.is_closed():
                self.loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def _force_close(self, error: BaseException | None) -> None:  # asyncio's TLS asks for it
        self.close()

    # what comes from the other end

    def deliver(self, data: bytes) -> None:
        self.loop.call_soon(self._receive, data)

    def _receive(self, data: bytes) -> None:
        if self.closing:
            return
        if self.paused:
            self.kept.append(data)
        elif isinstance(self.protocol, asyncio.BufferedProtocol):
            while data:
                room = memoryview(self.protocol.get_buffer(len(data)))
                size = min(len(room), len(data))
                room[:size] = data[:size]
                data = data[size:]
                self.protocol.buffer_updated(size)
        else:
            self.protocol.data_received(data)  # type: ignore[attr-defined]

    def hang_up(self) -> None:
        if not self.loop.is_closed():  # a client's pool may be tidied up long after its lab
            self.loop.call_soon(self._hung_up)

    def _hung_up(self) -> None:
        if not self.closing:
            if isinstance(self.protocol, asyncio.Protocol | asyncio.BufferedProtocol):
                self.protocol.eof_received()
            self.close()


class Datagrams(asyncio.DatagramTransport):
    """The lab's end of a UDP port; the address of an asker is its `Line`'s number."""

    def __init__(self, loop: Loop, protocol: asyncio.DatagramProtocol, port: int) -> None:
        super().__init__({"sockname": (HOST, port)})
        self.port = port
        self.protocol = protocol
        self.askers: dict[int, Asker] = {}
        loop.call_soon(protocol.connection_made, self)

    def sendto(self, data: Any, addr: Any = None) -> None:
        asker = self.askers.get(addr[1])
        if asker is not None:
            asker.datagrams.append((bytes(data), (HOST, self.port)))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


class Listener(asyncio.AbstractServer):
    def __init__(self, port: int, close: Callable[[int], object]) -> None:
        self.port = port
        self.sockets = (self,)
        self._close = close

    def getsockname(self) -> tuple[str, int]:
        return HOST, self.port

    def close(self) -> None:
        self._close(self.port)

    async def wait_closed(self) -> None:
        pass


class _NoSelector:
    """Nothing outside can happen: a loop that would wait has simply nothing to do."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return []


#: Seconds by which the loop may be early. Of a time since 1970 a float tells less than a ten-millionth of a second
#: apart: with the machine's own nanosecond, what is due just now would never be run.
RESOLUTION = 1e-6


class Loop(asyncio.BaseEventLoop):
    """An event loop in which only the lab's own work happens. `seconds`: the lab's time."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock_resolution = RESOLUTION
        self._selector = _NoSelector()
        self.ports: dict[int, tuple[Callable[[], asyncio.BaseProtocol], object]] = {}
        self.datagrams: dict[int, Datagrams] = {}
        self.next_port = FIRST_PORT
        self.broken: list[dict[str, Any]] = []
        self.set_exception_handler(lambda loop, context: self.broken.append(context))

    def time(self) -> float:
        return self._seconds()

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def settle(self) -> None:
        """All that can happen without time passing."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while self._ready or (  # type: ignore[attr-defined]
                    self._scheduled and self._scheduled[0]._when < self.time() + RESOLUTION):  # type: ignore[attr-defined]
                self._run_once()  # type: ignore[attr-defined]
        finally:
            events._set_running_loop(before)
        if self.broken:
            raise AssertionError(f"the lab broke: {self.broken}") from self.broken[0].get("exception")

    def accept(self, port: int) -> Pipe:
        """A new line to a port. Raises ConnectionRefusedError."""
        if port not in self.ports:
            raise ConnectionRefusedError(111, "Connection refused")
        made: list[Pipe] = []
        factory, tls = self.ports[port]
        self.call_soon(lambda: made.append(Pipe(self, factory(), port, tls)))
        self.settle()  # who wants to begin TLS does so before the first byte comes
        return made[0]

    def close(self) -> None:
        """Nobody is served any more; what was under way is given up."""
        if not self.is_closed():
            for task in asyncio.all_tasks(self):
                task.cancel()
            with contextlib.suppress(AssertionError):  # what breaks now breaks because it was given up
                self.settle()
        super().close()

    def finish(self, work: Any) -> Any:
        """The result of a coroutine that needs no time to pass."""
        task = self.create_task(work)
        self.settle()
        return task.result()

    def port(self, wanted: int = 0) -> int:
        if wanted:
            return wanted
        self.next_port += 1
        return self.next_port

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None,  # type: ignore[override]
                            *, sock: Any = None, ssl: Any = None, **options: Any) -> Any:
        number = sock.getsockname()[1] if sock is not None else self.port(port or 0)
        self.ports[number] = (protocol_factory, ssl)
        return Listener(number, lambda gone: self.ports.pop(gone, None))

    async def create_datagram_endpoint(self, protocol_factory: Any,  # type: ignore[override]
                                       local_addr: Any = None, **options: Any) -> Any:
        protocol = protocol_factory()
        transport = self.datagrams[local_addr[1]] = Datagrams(self, protocol, local_addr[1])
        return transport, protocol
