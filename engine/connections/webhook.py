"""Webhook: one JSON text is posted to an address of the user's, when a run wants to tell something.

The address is most often a secret by itself (it holds a key): name it with `!secret`. HTTPS only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.connections.endpoint import opened
from engine.connections.http import Http
from engine.contract import Rejected

if TYPE_CHECKING:
    from engine.connections import Site

#: Nobody waits longer for a listener that may be gone.
ANSWER_SECONDS = 20.0


class Webhook:
    """settings: `url`, `ca_file`, `proxy`."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._http = Http(name, settings, site)
        self._url = opened(settings.get("url"), site.world)

    def post(self, document: Mapping[str, Any]) -> None:
        """Raises Unreachable, Denied, Rejected, InDoubt – none of them with the address, which is a secret."""
        if not self._url:
            raise Rejected(self._name, "the connection has no url")
        self._http.call("POST", self._url, write=True, body=dict(document), read_seconds=ANSWER_SECONDS, tries=2)

    def close(self) -> None:
        self._http.close()
