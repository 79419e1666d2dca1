"""mail_delivery: a letter that was sent did not come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from engine.connections import Site
from engine.contract import Diff, Failing, Fault, Outlook, State, Waiting, Want
from engine.modules import _letter
from engine.modules.base import Effect, Module, Reads

#: What the trace says of a message that has reached its end.
ARRIVED = frozenset({"delivered", "expanded", "resolved"})

@dataclass(frozen=True, kw_only=True)
class MailDelivery(Module):
    """See in the tenant's message trace what became of a letter (C-18, C-19, C-24): a bounce fails its row.

    The trace shows what begins or ends in the tenant, some minutes later: let the task wait half an hour
    (`not_before: "{{ letter.sent_at + minutes(30) }}"`). A letter through Graph must show there. One through smtp may
    never touch the tenant: it is «not traced», which is no bounce, for its refusal goes to the sender's mailbox.
    """

    id: Annotated[str, "Name of the letter, as in `mail`."]
    to: Annotated[str, "The recipient."]
    sent_at: Annotated[str, "When it was sent, with its zone: the trace is read from that day on."]
    through: Annotated[Literal["best", "graph", "smtp"], "As in `mail`."] = "best"

    family: ClassVar[str] = "mail_delivery"
    public: ClassVar[frozenset[str]] = frozenset({"came_back", "reason", "status"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "observe"
    reads: ClassVar[Reads] = "each"  # of one listing; but before it was sent there is nothing to be read
    lasting: ClassVar[bool] = True
    look_again: ClassVar[timedelta] = timedelta(minutes=5)
    rights: ClassVar[tuple[str, ...]] = ("Message Tracking",)

    def key(self) -> str:
        return f"mail_delivery/{self.id}/{self.to.lower()}"

    def problems(self) -> Iterator[str]:
        yield from _letter.problems(self.id, self.to)
        if _letter.moment(self.sent_at) is None:
            yield "sent_at: a moment with its zone, as in 2026-11-20T18:00:00+01:00"

    def want(self) -> Want:
        return {"came_back": False}

    def read(self, site: Site) -> State:
        sent_at = _letter.moment(self.sent_at)
        assert sent_at is not None
        if site.world.clock.now() - sent_at > timedelta(days=_letter.TRACE_DAYS_MAX):
            return {"came_back": None, "status": "too old", "reason": ""}
        row = _letter.arrival(site, _letter.message_id(site, self.through, "mail", self.id, self.to), sent_at)
        if row is None:
            by_smtp = _letter.door(site, self.through) == "smtp"
            return {"came_back": False if by_smtp else None, "status": "not traced", "reason": ""}
        status = row.status.lower()
        if status in _letter.FAILED:
            return {"came_back": True, "status": row.status, "reason": _reason(site, row.trace_id, row.recipient)}
        return {"came_back": False if status in ARRIVED else None, "status": row.status, "reason": ""}

    def outlook(self, state: State | None, diff: Diff) -> Outlook:
        assert state is not None
        if state["status"] == "too old":
            return Failing(f"the letter to {self.to} was sent more than {_letter.TRACE_DAYS_MAX} days ago",
                           "the tenant's trace does not reach back so far; ask them, and waive this row")
        if state["came_back"] is None:
            return Waiting(f"the letter to {self.to} is under way: {state['status']}")
        return Failing(f"the letter to {self.to} came back: {state['reason'] or state['status']}",
                       "mend the address or the route and send it under a new id, or tell the person in another way "
                       "and waive this row")


def _reason(site: Site, trace_id: str, recipient: str) -> str:
    """Why, in the service's words; empty where it will not say."""
    try:
        return site.exchange_online.trace_failure(trace_id, recipient)
    except Fault:
        return ""
