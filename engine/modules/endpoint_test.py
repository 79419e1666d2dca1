"""endpoint_test: the migration service tries the source with the stored endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.migration_objects import by_name, moment
from engine.connections.service_errors import classify
from engine.contract import Diff, Rejected, State, Want
from engine.modules.base import Effect, Module, Undo
from engine.world import write_whole


@dataclass(frozen=True, kw_only=True)
class EndpointTest(Module):
    """Run the availability test with the endpoint (B-26). It signs in at the source, so a plan never runs it.

    A passed test counts as long as the endpoint was not changed since (B-21), and for `max_age` where that is given.
    What the service answered, passed or failed, is kept in the migration's exports folder (B-05).
    """

    endpoint: Annotated[str, "Name of the endpoint."]
    max_age: Annotated[timedelta | None, "A passed test counts for so long; always, where it is not given."] = None

    family: ClassVar[str] = "endpoint_test"
    public: ClassVar[frozenset[str]] = frozenset({"current", "result", "tested_at"})
    connection: ClassVar[str] = "exchange_online"
    #: Running it again does no harm, so an interrupted test is simply repeated.
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    rights: ClassVar[tuple[str, ...]] = ("Migration",)
    by_person: ClassVar[tuple[str, ...]] = ("Test-MigrationServerAvailability -Endpoint NAME (example 4 of its help).",)

    def key(self) -> str:
        return f"endpoint_test/{self.endpoint}"

    def problems(self) -> Iterator[str]:
        if not self.endpoint.strip():
            yield "endpoint: a name is needed (B-24)"

    def want(self) -> Want:
        return {"result": "Success", "current": True}

    def read(self, site: Site) -> State | None:
        path = self._path(site)
        if not path.exists():
            return None
        try:
            kept = json.loads(path.read_bytes())
            result, tested_at = str(kept["result"]), moment(kept["tested_at"])
        except (ValueError, KeyError, TypeError):
            raise Rejected("exchange_online", f"{path.name} is no test of mailmove", remedy="move it away") from None
        endpoint = by_name(site.exchange_online.endpoints(), self.endpoint)
        modified = endpoint.modified if endpoint is not None else None
        current = endpoint is not None and tested_at is not None and (modified is None or tested_at >= modified) and (
            self.max_age is None or site.world.clock.now() - tested_at <= self.max_age)
        return {"result": result, "tested_at": tested_at, "current": current}

    def apply(self, site: Site, diff: Diff) -> None:
        answers = site.exchange_online.invoke("Test-MigrationServerAvailability", Endpoint=self.endpoint)
        answer = answers[0] if answers else {}
        self._keep(site, answer)
        result = str(answer.get("Result") or "")
        if result != "Success":
            text = str(answer.get("Message") or answer.get("ErrorDetail") or result or "no result was given")
            known = classify(text)
            raise Rejected("exchange_online", f"{text} ({known.cause})", code=known.id, remedy=known.remedy)

    def _keep(self, site: Site, answer: dict[str, Any]) -> None:
        path = self._path(site)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, json.dumps({
            "endpoint": self.endpoint, "result": str(answer.get("Result") or ""),
            "tested_at": site.world.clock.now().isoformat(), "answer": answer}, indent=1, default=str).encode())

    def _path(self, site: Site) -> Path:
        """A name from data never leaves its folder: other signs are left out, and a digest tells such names apart."""
        safe = re.sub(r"[^A-Za-z0-9_-]", "", self.endpoint)[:60]
        more = "" if safe == self.endpoint else "-" + blake2b(self.endpoint.encode(), digest_size=4).hexdigest()
        return Path(str(site.settings["exports"])) / f"endpoint-test-{safe}{more}.json"
