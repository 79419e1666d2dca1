"""Site: every remote system of one migration, each opened once, when first needed.

The only room that opens a secret. A client raises the `Fault`s of `engine.contract` and nothing else; it holds
retries, throttling, paging and tokens, so that a module reads like the sentence it is.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from engine.world import World

if TYPE_CHECKING:
    from engine.connections.directory import Directory
    from engine.connections.dns import Dns
    from engine.connections.ews import Ews
    from engine.connections.exchange_online import ExchangeOnline
    from engine.connections.graph import Graph
    from engine.connections.published import Published
    from engine.connections.smtp import Smtp
    from engine.connections.source_shell import SourceShell

T = TypeVar("T")


def _anybody_may() -> None:
    """Outside of a run nobody holds anything."""


#: A shared listing is believed this long.
LISTING_AGE_MAX = timedelta(minutes=5)

#: connection name → (module, class); the class is called with (name, settings, site)
CLIENTS = {
    "graph": ("engine.connections.graph", "Graph"),
    "exchange_online": ("engine.connections.exchange_online", "ExchangeOnline"),
    "dns": ("engine.connections.dns", "Dns"),
    "internal_dns": ("engine.connections.dns", "Dns"),
    "directory": ("engine.connections.directory", "Directory"),
    "ews": ("engine.connections.ews", "Ews"),
    "published": ("engine.connections.published", "Published"),
    "smtp": ("engine.connections.smtp", "Smtp"),
    "source_smtp": ("engine.connections.smtp", "Smtp"),
    "source_shell": ("engine.connections.source_shell", "SourceShell"),
    "webhook": ("engine.connections.webhook", "Webhook"),
}


class Site:
    """The remote systems a migration's inventory names. Thread-safe; clients are opened on first use."""

    def __init__(self, connections: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], world: World) -> None:
        self.settings = settings
        self.world = world
        self._connections = connections
        self._clients: dict[str, Any] = {}
        self._listings: dict[tuple[str, str], tuple[datetime, Any]] = {}
        self._generation = 0
        self._lock = threading.RLock()
        self._loading: dict[tuple[str, str], threading.Lock] = {}
        #: asked by every client just before a request leaves that changes something – by those of many requests before
        #: each; a run sets it. Refusal(LOCKED) when another has taken over: one that slept through its lease is silent
        self.before_call: Callable[[], None] = _anybody_may

    def client(self, name: str) -> Any:
        """The client of a connection by its inventory name. Raises Rejected when the inventory does not name it."""
        with self._lock:
            if name not in self._clients:
                if name not in self._connections:
                    from engine.contract import Rejected

                    raise Rejected(name, f"the inventory has no connection {name!r}",
                                   remedy=f"add it under connections: {name}:")
                module, kind = CLIENTS[name]
                self._clients[name] = getattr(importlib.import_module(module), kind)(
                    name, self._connections[name], self)
            return self._clients[name]

    def settings_of(self, name: str) -> Mapping[str, Any]:
        """A connection's settings as the inventory has them, secrets unopened; {} where it does not name it."""
        return self._connections.get(name) or {}

    def has(self, name: str) -> bool:
        """Whether the inventory names this connection."""
        return name in self._connections

    def setting(self, connection: str, name: str) -> Any:
        """One plain setting of a connection; None where there is none. Secrets stay with their clients."""
        found = self._connections.get(connection, {}).get(name)
        return None if hasattr(found, "open") else found

    @property
    def graph(self) -> Graph:
        return self.client("graph")  # type: ignore[no-any-return]

    @property
    def exchange_online(self) -> ExchangeOnline:
        return self.client("exchange_online")  # type: ignore[no-any-return]

    @property
    def dns(self) -> Dns:
        return self.client("dns")  # type: ignore[no-any-return]

    @property
    def directory(self) -> Directory:
        return self.client("directory")  # type: ignore[no-any-return]

    @property
    def ews(self) -> Ews:
        return self.client("ews")  # type: ignore[no-any-return]

    @property
    def published(self) -> Published:
        return self.client("published")  # type: ignore[no-any-return]

    @property
    def smtp(self) -> Smtp:
        return self.client("smtp")  # type: ignore[no-any-return]

    @property
    def source_shell(self) -> SourceShell:
        return self.client("source_shell")  # type: ignore[no-any-return]

    def listing(self, connection: str, collection: str, load: Callable[[], T]) -> T:
        """One listing per connection and collection, shared by all tasks that need it.

        Loaded by one caller while the others wait; kept until something is written (`forget`) or LISTING_AGE_MAX.
        """
        name = (connection, collection)
        with self._lock:
            gate = self._loading.setdefault(name, threading.Lock())
        with gate:
            with self._lock:
                kept = self._listings.get(name)
                generation = self._generation
            if kept is not None and self.world.clock.now() - kept[0] <= LISTING_AGE_MAX:
                return kept[1]  # type: ignore[no-any-return]
            loaded = load()
            with self._lock:
                if generation == self._generation:
                    self._listings[name] = (self.world.clock.now(), loaded)
            return loaded

    def forget(self) -> None:
        """Something was written, or time has passed: what was listed before is no longer believed."""
        with self._lock:
            self._generation += 1
            self._listings.clear()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
