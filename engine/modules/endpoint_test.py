"""endpoint_test: the migration service tries the source with the stored endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.connections.service_errors import classify
from engine.contract import Diff, Rejected, State, Want
from engine.modules.base import Effect, Module, Reads, Undo


@dataclass(frozen=True, kw_only=True)
class EndpointTest(Module):
    """Run the availability test with the endpoint (B-26). It signs in at the source, so a plan never runs it."""

    endpoint: Annotated[str, "Name of the endpoint."]

    family: ClassVar[str] = "endpoint_test"
    connection: ClassVar[str] = "exchange_online"
    #: Running it again does no harm, so an interrupted test is simply repeated.
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "none"
    reads: ClassVar[Reads] = "journal"
    lasting: ClassVar[bool] = True
    rights: ClassVar[tuple[str, ...]] = ("Migration",)

    def key(self) -> str:
        return f"endpoint_test/{self.endpoint}"

    def want(self) -> Want:
        return {"result": "Success"}

    def read(self, site: Site) -> State | None:
        return None  # a test leaves no mark in the service

    def apply(self, site: Site, diff: Diff) -> State:
        answers = site.exchange_online.invoke("Test-MigrationServerAvailability", Endpoint=self.endpoint)
        answer = answers[0] if answers else {}
        result = str(answer.get("Result") or "")
        if result != "Success":
            text = str(answer.get("Message") or answer.get("ErrorDetail") or result or "no result was given")
            known = classify(text)
            raise Rejected("exchange_online", f"{text} ({known.cause})", code=known.id, remedy=known.remedy)
        return {"result": "Success", "tested_at": site.world.clock.now()}
