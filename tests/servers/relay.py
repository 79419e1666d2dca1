"""A TCP relay in front of a DNS server that loses answers: what a broken line does to an update carried out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

UPDATE = 5


@contextmanager
def relay(place: str, *, cuts_updates: bool) -> Iterator[str]:
    """Its own address. Queries come back; of an update the answer is waited for, and then the line is cut."""
    host, _, port = place.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            while True:
                try:
                    line, _ = door.accept()
                except OSError:
                    return
                with line, socket.create_connection((host, int(port)), 10) as server:
                    asked = _message(line)
                    server.sendall(len(asked).to_bytes(2, "big") + asked)
                    answer = _message(server)
                    if not (cuts_updates and asked[2] >> 3 & 0xF == UPDATE):
                        line.sendall(len(answer).to_bytes(2, "big") + answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{door.getsockname()[1]}"
        door.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _message(line: socket.socket) -> bytes:
    return _exactly(line, int.from_bytes(_exactly(line, 2), "big"))


def _exactly(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = line.recv(size - len(data))
        if not more:
            raise ConnectionError("cut")
        data += more
    return data
