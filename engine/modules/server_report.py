"""server_report: what Exchange Online says of the servers that forward mail to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import State, Want
from engine.modules.base import Effect, Module

_RESTRICTED = re.compile(r"throttl|block", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ServerReport(Module):
    """Read whether mail from the source's servers is throttled or blocked for being out of date (S-38).

    Exchange Online slows (450 4.7.230) and then refuses (550 5.7.230) mail from persistently vulnerable servers, and a
    staged migration lives on forwarding. Asks for nothing: `restricted` is for the task that comes after it. The
    cmdlet is known from articles only, so its rows are kept as they come.
    """

    name: Annotated[str, "Name of the source, for the record."] = "source"

    family: ClassVar[str] = "server_report"
    public: ClassVar[frozenset[str]] = frozenset({"restricted", "servers"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "observe"
    look_again: ClassVar[timedelta] = timedelta(hours=4)
    rights: ClassVar[tuple[str, ...]] = ("View-Only Configuration",)

    def key(self) -> str:
        return f"server_report/{self.name}"

    def want(self) -> Want:
        return {}

    def read(self, site: Site) -> State:
        servers = site.exchange_online.server_report()
        return {"servers": servers, "restricted": any(_RESTRICTED.search(each) for each in servers)}
