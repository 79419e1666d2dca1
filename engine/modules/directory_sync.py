"""directory_sync: whether accounts come from the organisation's own directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import Diff, Handover, Outlook, State, Waiting, Want
from engine.modules.base import Effect, Module, Undo


@dataclass(frozen=True, kw_only=True)
class DirectorySync(Module):
    """Directory synchronisation on and fresh (staged, S-06), or off (cutover, C-07).

    Only a person can switch it: Graph has no application right for it. Turning it off may take the service up to
    72 hours and cannot be cancelled (Microsoft Learn, Set-EntraDirSyncEnabled).
    """

    enabled: Annotated[bool, "Whether it must be on."]
    fresh_within: Annotated[timedelta | None, "Last run at most so long ago; only where enabled."] = None

    family: ClassVar[str] = "directory_sync"
    public: ClassVar[frozenset[str]] = frozenset({"enabled", "fresh", "last_sync"})
    connection: ClassVar[str] = "graph"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "none"
    settles_within: ClassVar[timedelta] = timedelta(hours=72)
    look_again: ClassVar[timedelta] = timedelta(minutes=30)
    rights: ClassVar[tuple[str, ...]] = ("Organization.Read.All",)

    def key(self) -> str:
        return "directory_sync"

    def want(self) -> Want:
        if self.enabled and self.fresh_within is not None:
            return {"enabled": True, "fresh": True}
        return {"enabled": self.enabled}

    def read(self, site: Site) -> State:
        found = site.graph.organization()
        state: dict[str, bool | object] = {"enabled": found.sync_enabled is True, "last_sync": found.last_sync}
        if self.fresh_within is not None:
            state["fresh"] = (found.last_sync is not None
                              and site.world.clock.now() - found.last_sync <= self.fresh_within)
        return state  # type: ignore[return-value]

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if self.enabled and state is not None and state["enabled"]:
            return Waiting(f"on, but last run {state['last_sync'] or 'never'}: waits for the next one")
        return None

    def apply(self, site: Site, diff: Diff) -> Handover:
        word = "true" if self.enabled else "false"
        notes = ["# Needs Entra Connect to be installed and running at the source."] if self.enabled else [
            "# May take up to 72 hours, cannot be cancelled; can be turned on again only when it has ended."]
        lines = ["# As Global Administrator or Hybrid Identity Administrator:", *notes,
                 f"Set-EntraDirSyncEnabled -EnableDirSync ${word}"]
        return Handover("powershell", f"Turn directory synchronisation {'on' if self.enabled else 'off'}",
                        "\n".join(lines) + "\n")

    def handover_group(self) -> str:
        return "directory_sync"
