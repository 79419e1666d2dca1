"""autodiscover_uri: inside the company, no server sends Outlook to the old Autodiscover any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.connections.directory_checks import connection_points
from engine.connections.source_records import has_shell
from engine.contract import Diff, Handover, State, Want
from engine.modules._powershell import Call, carried_out
from engine.modules.base import Effect, Module, Undo


@dataclass(frozen=True, kw_only=True)
class AutodiscoverUri(Module):
    """`AutoDiscoverServiceInternalUri` of a Client Access server is empty, so Outlook in the domain asks DNS (C-21).

    Read from the server's connection point in Active Directory; one server that is forgotten leads clients back. The
    line is handed to a person. A server without a connection point (Exchange 2003, no Client Access role) is done.
    """

    server: Annotated[str, "Name of the server, as in ex01.corp.contoso.com."]
    uri: Annotated[str, "What it should be; empty: nothing."] = ""

    family: ClassVar[str] = "autodiscover_uri"
    public: ClassVar[frozenset[str]] = frozenset({"point", "uri"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(hours=1)

    def key(self) -> str:
        return f"autodiscover_uri/{self._short()}"

    def problems(self) -> Iterator[str]:
        if not self._short():
            yield "server: needed"

    def want(self) -> Want:
        return {"uri": self.uri}

    def read(self, site: Site) -> State:
        found = connection_points(site).get(self._short())
        return {"uri": "", "point": False} if found is None else {"uri": found.uri, "point": True}

    def by_hand(self, site: Site) -> bool:
        return not has_shell(site)

    def handover_group(self) -> str:
        return "autodiscover uri"

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        return self._set(site, self.uri)

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        return self._set(site, str((before or {}).get("uri") or ""))

    def _set(self, site: Site, uri: str) -> Handover | None:
        call = Call("Set-ClientAccessServer", {
            "Identity": self._short().upper(), "AutoDiscoverServiceInternalUri": uri or None})
        return carried_out(site, "Set where Outlook looks inside the company", [call], (
            "# Microsoft's page calls the parameter AutodiscoverInternalConnectionURI; no cmdlet knows that name.",
            "# Where Set-ClientAccessServer is no longer known: Set-ClientAccessService with the same parameters."))

    def _short(self) -> str:
        return self.server.strip().lower().partition(".")[0]
