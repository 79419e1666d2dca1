"""unified_messaging: a mailbox has no Unified Messaging while it is copied."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.connections.directory_checks import voices
from engine.connections.source_records import has_shell
from engine.contract import Diff, Handover, State, Want
from engine.modules._powershell import Call, carried_out
from engine.modules.base import Effect, Module, Undo


@dataclass(frozen=True, kw_only=True)
class UnifiedMessaging(Module):
    """Unified Messaging is switched off before the copy (B-09), and what it was stays in `before` (B-10).

    Policy, dial plan and extensions are saved by the read before it; `.before.enabled` of the register says who had
    it. A management shell does it, so the line is handed to a person. Exchange 2003 never had it.
    """

    address: Annotated[str, "Primary address of the mailbox."]

    family: ClassVar[str] = "unified_messaging"
    public: ClassVar[frozenset[str]] = frozenset({"dial_plan", "enabled", "extensions", "policy"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(minutes=30)

    def key(self) -> str:
        return f"unified_messaging/{self.address.lower()}"

    def want(self) -> Want:
        return {"enabled": False}

    def read(self, site: Site) -> State:
        found = voices(site).get(self.address.lower())
        if found is None:
            return {"enabled": False}
        return {"enabled": True, "policy": found.policy, "dial_plan": found.dial_plan, "extensions": found.extensions}

    def by_hand(self, site: Site) -> bool:
        return not has_shell(site)

    def handover_group(self) -> str:
        return "unified messaging off"

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        return carried_out(site, "Switch Unified Messaging off before the copy", [Call("Disable-UMMailbox", {
            "Identity": self.address, "KeepProperties": True, "Confirm": False})])

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        """Switches it on again with the saved policy and extensions."""
        assert before is not None
        extensions = before.get("extensions")
        numbers = [str(each) for each in extensions] if isinstance(extensions, tuple) else []
        return carried_out(site, "Switch Unified Messaging on again", [Call("Enable-UMMailbox", {
            "Identity": self.address, "UMMailboxPolicy": _common_name(str(before.get("policy") or "")),
            **({"Extensions": numbers} if numbers else {})})])


def _common_name(dn: str) -> str:
    """The first part of a distinguished name, as cmdlets take it."""
    return dn.partition(",")[0].partition("=")[2]
