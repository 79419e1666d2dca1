"""The carrier: what a process says to a socket reaches the lab's servers as bytes, in memory, in one thread.

The lab listens on an event loop without a selector, whose time is the lab's own clock. A client of the engine holds
a `Line` in the place of a socket: a blocking read lets the lab's loop work until bytes have come, the other end has
closed, or nothing more can happen without time passing – then the timeout runs out, in virtual time. No object of
one side is ever handed to the other.

Lines to a port that speaks TLS from its first byte carry plain bytes; where TLS is begun on the line (STARTTLS, the
published name with its certificates) it is the real one. The rigs with real processes keep TLS everywhere.
"""

from __future__ import annotations

import contextlib
import io
import os
import selectors
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from unittest import mock

from tests.simulation.loop import HOST, Listener, Loop, Pipe


class Process(Protocol):
    """Whose lines these are; every step of it may be its last."""

    def step(self, what: str, data: bytes) -> None:
        """Called before "send" and after "sent" (the lab has done all it can do), and before "received"."""
        ...


class Carrier:
    """Joins processes to one lab's loop. `process` is the one that runs now; `pass_time` moves the virtual time on."""

    def __init__(self, loop: Loop, pass_time: Callable[[float], None]) -> None:
        self.loop = loop
        self.pass_time = pass_time
        self.process: Process | None = None
        self.lines: list[Line] = []
        self.numbers = 0
        # Two real descriptors, for those who ask the system whether something can be read: one never, one always.
        self.silent = os.eventfd(0, os.EFD_NONBLOCK)
        self.speaking = os.eventfd(1, os.EFD_NONBLOCK)

    def close(self) -> None:
        os.close(self.silent)
        os.close(self.speaking)

    def drop(self, process: Process) -> None:
        """A process is gone, and the system closes what it held."""
        for line in [line for line in self.lines if line.process is process]:
            line.sever()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Within, every new socket of this thread is a line."""
        wrap = ssl.SSLContext.wrap_socket

        def secured(context: ssl.SSLContext, sock: Any, *args: Any, **options: Any) -> Any:
            if isinstance(sock, Line):
                return sock.secured(context, options.get("server_hostname"))
            return wrap(context, sock, *args, **options)

        carrier = self

        class Carried(Line):  # a class, for whoever speaks of socket.socket as a type
            def __init__(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, *_: object) -> None:
                super().__init__(carrier, family, kind)

        with contextlib.ExitStack() as stack:
            for place, name, new in (
                    (socket, "socket", Carried),
                    (socket, "create_connection", self.create_connection),
                    (socket, "create_server", lambda address, **_: Listener(self.loop.port(), lambda gone: None)),
                    (socket, "getaddrinfo", _addresses),
                    (selectors, "DefaultSelector", lambda: LineSelector(self)),
                    (ssl.SSLContext, "wrap_socket", secured)):
                stack.enter_context(mock.patch.object(place, name, new))
            yield

    def create_connection(self, address: tuple[str, int], timeout: Any = None, *args: Any, **_: Any) -> Line:
        line = Line(self, socket.AF_INET, socket.SOCK_STREAM)
        line.settimeout(timeout if isinstance(timeout, int | float) else None)
        line.connect(address)
        return line


def _addresses(host: Any, port: Any, family: int = 0, type: int = 0,  # noqa: A002 - the name of socket's own
               proto: int = 0, flags: int = 0) -> list[Any]:
    kind = type or socket.SOCK_STREAM
    return [(socket.AF_INET, kind, 6 if kind == socket.SOCK_STREAM else 17, "", (HOST, int(port or 0)))]


class Line:
    """A process's end: as much of a socket as the clients ask of one."""

    def __init__(self, carrier: Carrier, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> None:
        self.carrier = carrier
        self.family, self.type, self.proto = family, kind, 0
        self.process = carrier.process
        self.timeout: float | None = None
        self.pipe: Pipe | None = None
        self.tls: ssl.SSLObject | None = None
        self.plain: tuple[ssl.MemoryBIO, ssl.MemoryBIO] | None = None
        self.datagrams: deque[tuple[bytes, tuple[str, int]]] = deque()
        carrier.numbers += 1
        self.number = carrier.numbers
        self.closed = False
        self._io_refs = 0
        carrier.lines.append(self)

    # ------------------------------------------------------------------------------------------- settings

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def gettimeout(self) -> float | None:
        return self.timeout

    def setblocking(self, blocking: bool) -> None:
        self.timeout = None if blocking else 0.0

    def setsockopt(self, *_: Any) -> None:
        pass

    def getsockopt(self, *_: Any) -> int:
        return 0

    def bind(self, address: Any) -> None:
        pass

    def getpeername(self) -> tuple[str, int]:
        if self.pipe is None:
            raise OSError(107, "not connected")
        return HOST, self.pipe.get_extra_info("sockname")[1]

    def getsockname(self) -> tuple[str, int]:
        return HOST, self.number

    def fileno(self) -> int:
        if self.closed:
            return -1
        return self.carrier.speaking if self.readable() else self.carrier.silent

    def readable(self) -> bool:
        if self.pipe is None:
            return bool(self.datagrams)
        return bool(self.pipe.sent) or self.pipe.ended or bool(self.tls is not None and self.tls.pending())

    # ---------------------------------------------------------------------------------------------- stream

    def connect(self, address: tuple[str, int]) -> None:
        self.step("connect", b"")
        self.pipe = self.carrier.loop.accept(int(address[1]))

    def connect_ex(self, address: tuple[str, int]) -> int:
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or 111
        return 0

    def sendall(self, data: Any) -> None:
        pipe = self._open()
        data = bytes(data)
        self.step("send", data)
        if pipe.ended:
            raise BrokenPipeError(32, "Broken pipe")
        if self.tls is None:
            pipe.deliver(data)
        else:
            self.tls.write(data)
            self._flush()
        self.step("sent", data)

    def send(self, data: Any) -> int:
        self.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        data = self._take(size)
        if data:
            self.step("received", data)
        return data

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        data = self.recv(size or len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def _take(self, size: int) -> bytes:
        while True:
            if self.tls is not None:
                try:
                    return self.tls.read(size)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:
                    return b""
                if not self._feed():
                    return b""
                continue
            pipe = self._open()
            self._await(pipe)
            if not pipe.sent:
                return b""
            data = pipe.sent.popleft()
            if len(data) > size:
                pipe.sent.appendleft(data[size:])
                data = data[:size]
            return data

    def _await(self, pipe: Pipe) -> None:
        if pipe.sent or pipe.ended:
            return
        self.carrier.loop.settle()
        if pipe.sent or pipe.ended:
            return
        self._silence()

    def _silence(self) -> None:
        """Nothing will come: the time to wait for it passes."""
        if self.timeout == 0.0:
            raise BlockingIOError(11, "nothing has come")
        self.carrier.pass_time(self.timeout if self.timeout is not None else 3600.0)
        raise TimeoutError("timed out")

    # ------------------------------------------------------------------------------------------------- TLS

    def secured(self, context: ssl.SSLContext, host: str | None) -> Line:
        """This very line, from now on with TLS – spoken only where the other end begins it on an open line."""
        if self._open().get_extra_info("sslcontext"):
            return self
        self.plain = ssl.MemoryBIO(), ssl.MemoryBIO()
        found = context.wrap_bio(*self.plain, server_hostname=host)
        while True:
            try:
                found.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                if not self._feed():
                    raise ssl.SSLEOFError(8, "the line was closed in the handshake") from None
        self._flush()
        self.tls = found
        return self

    def _flush(self) -> None:
        assert self.plain is not None and self.pipe is not None
        if data := self.plain[1].read():
            self.pipe.deliver(data)

    def _feed(self) -> bool:
        """More of what the other end has sent; False: it has closed."""
        assert self.plain is not None
        pipe = self._open()
        self._await(pipe)
        if not pipe.sent:
            return False
        while pipe.sent:
            self.plain[0].write(pipe.sent.popleft())
        return True

    @property
    def _sslobj(self) -> Any:
        return self.tls._sslobj if self.tls is not None else None  # type: ignore[attr-defined]

    def version(self) -> str | None:
        return self.tls.version() if self.tls is not None else "TLSv1.3"

    def getpeercert(self, binary_form: bool = False) -> Any:
        return self.tls.getpeercert(binary_form) if self.tls is not None else {}

    def pending(self) -> int:
        return self.tls.pending() if self.tls is not None else 0

    # ------------------------------------------------------------------------------------------- datagrams

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        self.step("send", data)
        port = self.carrier.loop.datagrams.get(int(address[1]))
        if port is not None:
            port.askers[self.number] = self
            self.carrier.loop.call_soon(port.protocol.datagram_received, bytes(data), (HOST, self.number))
        self.step("sent", data)
        return len(data)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        if not self.datagrams:
            self.carrier.loop.settle()
        if not self.datagrams:
            self._silence()
        found = self.datagrams.popleft()
        self.step("received", found[0])
        return found

    # ----------------------------------------------------------------------------------------------- ends

    def makefile(self, mode: str = "r", buffering: int | None = None, **options: Any) -> Any:
        self._io_refs += 1
        raw = socket.SocketIO(self, mode.replace("b", "") or "r")  # type: ignore[arg-type]
        if "w" in mode:
            return io.BufferedWriter(raw) if buffering != 0 else raw
        reader = io.BufferedReader(raw, buffering if buffering and buffering > 1 else io.DEFAULT_BUFFER_SIZE)
        return reader if "b" in mode else io.TextIOWrapper(reader, **options)

    def _decref_socketios(self) -> None:
        self._io_refs -= 1
        if self.closed and self._io_refs <= 0:
            self.sever()

    def shutdown(self, how: int) -> None:
        if self.pipe is not None:
            self.pipe.hang_up()

    def close(self) -> None:
        self.closed = True
        if self._io_refs <= 0:
            self.sever()

    def detach(self) -> int:
        self.close()
        return -1

    def sever(self) -> None:
        """The line is gone at this end; what the other one still sends reaches nobody."""
        self.closed = True
        if self.pipe is not None:
            self.pipe.ended = True
            self.pipe.hang_up()
        for port in self.carrier.loop.datagrams.values():
            port.askers.pop(self.number, None)
        if self in self.carrier.lines:
            self.carrier.lines.remove(self)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def step(self, what: str, data: bytes) -> None:
        if self.process is not None:
            self.process.step(what, data)

    def _open(self) -> Pipe:
        if self.pipe is None:
            raise OSError(107, "not connected")
        return self.pipe


class LineSelector:
    """Waits for lines: the lab works until one of them has something, else the time passes."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.keys: list[selectors.SelectorKey] = []

    def register(self, line: Any, wanted: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(line, line.number, wanted, data)
        self.keys.append(key)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._ready()
        if not ready:
            self.carrier.loop.settle()
            ready = self._ready()
        if not ready and timeout != 0:
            self.carrier.pass_time(timeout if timeout is not None else 3600.0)
        return ready

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        return [(key, selectors.EVENT_READ) for key in self.keys
                if key.events & selectors.EVENT_READ and key.fileobj.readable()  # type: ignore[union-attr]
                ] + [(key, selectors.EVENT_WRITE) for key in self.keys if key.events & selectors.EVENT_WRITE]

    def close(self) -> None:
        self.keys.clear()

    def __enter__(self) -> LineSelector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
