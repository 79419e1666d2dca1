"""The tenant that answers is the one the inventory pins (safety invariant S16)."""

from __future__ import annotations

from collections.abc import Mapping

from engine.connections import Site
from engine.contract import ExitCode, Problem, Program, Refusal


def check_tenant(program: Program, site: Site) -> None:
    """S16: the tenant that answers is the one the inventory pins. Raises Refusal, or Fault when it cannot be asked."""
    pinned = program.settings.get("tenant")
    wanted = pinned.get("id") if isinstance(pinned, Mapping) else None
    if not wanted or not site.has("graph"):
        return
    found = site.graph.organization().id
    if str(found).lower() != str(wanted).lower():
        raise Refusal(ExitCode.REFUSED, Problem(
            "this is another tenant", found=f"the inventory pins {wanted}, the connection leads to {found}",
            remedy="Check the sign-in of the graph connection, or the tenant id in the inventory.",
            next_command="mailmove doctor"))
