"""Time that passes in a lab whose waits are held until somebody grants them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from engine.laboratory import Lab


@contextmanager
def time_passes(lab: Lab) -> Iterator[None]:
    """Whoever waits is let go on at once, and the lab's clock with it."""
    def grant() -> None:
        while not stop.wait(0.02):
            lab.post("/clock/grant", move=True)

    stop = Event()
    granting = Thread(target=grant, daemon=True)
    granting.start()
    try:
        yield
    finally:
        stop.set()
        granting.join()
