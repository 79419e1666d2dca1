"""What goes wrong, by seed: throttling, lost answers, late visibility, failing mailboxes – and the kill switch.

A fault by hand (`POST /fault`) is one of::

    {"kind": "throttle" | "unavailable" | "drop", "match": "graph GET /users", "times": 1, "seconds": 30}
    {"kind": "hide", "minutes": 20, "times": 1}             the next created objects are not seen for so long
    {"kind": "mailbox", "address": "…", "error": "E12"}     that mailbox fails; "error": null mends it
    {"kind": "endpoint", "error": "E01"}                    the service does not reach the source; null mends it
    {"kind": "refuse", "match": "exo New-MigrationBatch", "error": "E27", "times": 1}    a cmdlet is refused so
    {"kind": "skipped", "address": "…", "count": 3, "listed": false}     items left out of that mailbox's copy
    {"kind": "forwarding", "error": "E26"}                  the cloud refuses mail from the source; null mends it
    {"kind": "password", "password": "…"}                  the migration account's password is changed at the source
    {"kind": "status", "batch": "Batch01", "status": "Corrupted"}        what befalls a batch without a cmdlet
    {"kind": "hire", "address": "…", "name": "…"}           somebody comes to the company: a row of `mailboxes`
    {"kind": "account", "account": "migadmin", "trouble": "expired"}      or locked, disabled, must change, reads only
    {"kind": "echo", "match": "graph GET", "status": 403, "form": "base64", "times": 1}   refused, the request repeated
    {"kind": "none"}                                       what was to befall requests by hand no longer does

`match` is the beginning of a request's kind, as `/counters` names it. A fault by seed is drawn from (seed, kind,
how many of that kind came before), so that it does not depend on what other requests came between.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from engine.lab.echo import FORMS

Verdict = Literal["throttle", "unavailable", "drop"]

#: The answer to a request may still be under way when its handler is done; the kill "answered" waits this long
#: (wall seconds) where the protocol's server cannot tell when it is written.
ANSWER_SECONDS = 0.02


def draw(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but `parts`."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "big") / 2**56


@dataclass(frozen=True)
class Level:
    """Shares of requests, and of created objects and mailboxes; seconds and minutes are virtual."""

    throttle: float = 0.0
    throttle_seconds_max: int = 30
    #: of what is throttled, the share that is not told when to come again
    untold: float = 0.0
    unavailable: float = 0.0
    drop: float = 0.0
    hide: float = 0.0
    hide_minutes_max: int = 0
    mailboxes: float = 0.0


LEVELS = {
    "none": Level(),
    "light": Level(throttle=0.03, unavailable=0.01, drop=0.005, hide=0.2, hide_minutes_max=5, mailboxes=0.01),
    "heavy": Level(throttle=0.15, throttle_seconds_max=600, unavailable=0.05, drop=0.03, hide=0.5,
                   hide_minutes_max=12, mailboxes=0.05),
}

#: Errors that a mailbox may be given by seed, all of which a restart of the batch mends.
PASSING_ERRORS = ("E11", "E12", "E13", "E14")

_ticket: ContextVar[int] = ContextVar("ticket", default=0)


class Killed(ConnectionAbortedError):
    """The sender of a request is dead, and the request is not to be handled."""


@dataclass
class Kill:
    pid: int
    ticket: int
    when: Literal["before", "after", "answered"]
    stop: bool = False


@dataclass
class ByHand:
    kind: str
    match: str
    times: int
    seconds: int


@dataclass
class Echo:
    match: str
    times: int
    status: int
    form: str


@dataclass
class Faults:
    """Asked at every request of every protocol, and by the tenant when it makes things."""

    seed: int = 0
    level: Level = field(default_factory=Level)
    by_hand: list[ByHand] = field(default_factory=list)
    echoes: list[Echo] = field(default_factory=list)
    #: the request that is being handled, as it came
    heard: bytes = b""
    #: `kind` is the id of the error with which a cmdlet is refused
    refusals: list[ByHand] = field(default_factory=list)
    #: address → error id: what fails beside the rows' own `fail`; None: mended by hand
    mailboxes: dict[str, str | None] = field(default_factory=dict)
    endpoint: str | None = None
    #: domain → the other organisation that has it: proven there, it cannot be verified here
    domains: dict[str, str] = field(default_factory=dict)
    #: web requests the account has no right to
    denials: list[ByHand] = field(default_factory=list)
    #: address → how many items its copy leaves out, and whether the service lists them
    skipped: dict[str, tuple[int, bool]] = field(default_factory=dict)
    forwarding: str | None = None
    #: set by the source, which owns the account
    change_password: Callable[[str], None] | None = None
    #: batch, status: set by the migration service, which owns the batches
    befall: Callable[[str, str], None] | None = None
    #: address → why mail to it comes back
    bounces: dict[str, str] = field(default_factory=dict)
    #: kinds of fault that belong to one part of the lab: what is told to it
    parts: dict[str, Callable[[dict[str, Any]], None]] = field(default_factory=dict)
    #: whose people do not touch their cloud mailbox
    idle: set[str] = field(default_factory=set)
    #: who is made with a sign-in name below the tenant's own domain
    odd_names: set[str] = field(default_factory=set)
    #: account name → what is wrong with it (`engine.lab.organisation.TROUBLES`)
    accounts: dict[str, str] = field(default_factory=dict)
    #: called before a request is handled: what a real server that stands in for one of ours has seen meanwhile
    look_outside: Callable[[], None] = lambda: None
    _seen: Counter[str] = field(default_factory=Counter)
    _made: int = 0
    #: requests of all protocols that have arrived; what /kill counts
    requests: int = 0
    _kill: Kill | None = None

    # ----------------------------------------------------------------------------------------------- requests

    def verdict(self, kind: str) -> tuple[Verdict, int] | None:
        """What befalls this request, with the seconds of Retry-After; None: nothing.

        throttle, unavailable: refused before anything is done; with 0 seconds it is not said when to come again.
        drop: done, but never answered.
        """
        for fault in self.by_hand:
            if fault.kind in ("throttle", "unavailable", "drop") and kind.startswith(fault.match):
                self._use(fault)
                return fault.kind, fault.seconds  # type: ignore[return-value]
        level = self.level
        # Sign-in fails by hand only: msal keeps to a Retry-After by the machine's clock, which the lab does not own.
        if not (level.throttle or level.unavailable or level.drop) or kind.startswith("sign-in"):
            return None
        number = self._seen[kind] = self._seen[kind] + 1
        chance = draw(self.seed, kind, number)
        seconds = 1 + int(draw(self.seed, kind, number, "seconds") * level.throttle_seconds_max)
        if chance < level.throttle:
            untold = level.untold and draw(self.seed, kind, number, "untold") < level.untold
            return "throttle", 0 if untold else seconds
        if chance < level.throttle + level.unavailable:
            return "unavailable", min(seconds, 30)
        if chance < level.throttle + level.unavailable + level.drop:
            return "drop", 0
        return None

    def echoed(self, kind: str) -> tuple[int, str] | None:
        """Status and text of a refusal that repeats the request; None: it is not refused so."""
        for echo in self.echoes:
            if kind.startswith(echo.match):
                echo.times -= 1
                if echo.times <= 0:
                    self.echoes.remove(echo)
                return echo.status, f"cannot understand: {FORMS[echo.form](self.heard)}"
        return None

    def refusal(self, kind: str) -> str | None:
        """The id of the error with which this cmdlet is refused, as "exo New-MigrationBatch"; None: it is not."""
        for fault in self.refusals:
            if kind.startswith(fault.match):
                fault.times -= 1
                if fault.times <= 0:
                    self.refusals.remove(fault)
                return fault.kind
        return None

    def denied(self, kind: str) -> bool:
        """Whether the account lacks the right to this web request."""
        for fault in self.denials:
            if kind.startswith(fault.match):
                fault.times -= 1
                if fault.times <= 0:
                    self.denials.remove(fault)
                return True
        return False

    def hidden_minutes(self, name: str) -> int:
        """For how many virtual minutes a created thing stays invisible to reads."""
        for fault in self.by_hand:
            if fault.kind == "hide":
                self._use(fault)
                return fault.seconds // 60
        if draw(self.seed, "hide", name) < self.level.hide:
            return int(draw(self.seed, "minutes", name) * self.level.hide_minutes_max)
        return 0

    def mailbox_error(self, address: str, own: str | None) -> str | None:
        """The error id of a failing mailbox; `own` is what its row says."""
        if address in self.mailboxes:
            return self.mailboxes[address]
        if own is None and draw(self.seed, "mailbox", address) < self.level.mailboxes:
            return PASSING_ERRORS[int(draw(self.seed, "error", address) * len(PASSING_ERRORS))]
        return own

    def set(self, body: dict[str, Any]) -> None:
        """A fault by hand (`POST /fault`). Raises ValueError with what is wrong with it."""
        kind = body.get("kind")
        if kind in ("throttle", "unavailable", "drop", "hide"):
            seconds = int(body.get("minutes", 10)) * 60 if kind == "hide" else int(body.get("seconds", 10))
            self.by_hand.append(ByHand(kind, str(body.get("match", "")), int(body.get("times", 1)), seconds))
        elif kind == "none":
            for each in (self.by_hand, self.echoes, self.refusals, self.denials):
                each.clear()
        elif kind == "echo" and body.get("form", "plain") in FORMS:
            if not int(body.get("times", 1)):
                self.echoes.clear()
            else:
                self.echoes.append(Echo(str(body.get("match", "")), int(body.get("times", 1)),
                                        int(body.get("status", 403)), str(body.get("form", "plain"))))
        elif kind == "mailbox":
            self.mailboxes[str(body["address"]).lower()] = body.get("error")
        elif kind == "bounce":
            self.bounces[str(body["address"]).lower()] = str(
                body.get("text") or "550 5.2.2 mailbox full; unable to process message")
        elif kind in ("idle", "sign_in_name"):
            chosen = self.idle if kind == "idle" else self.odd_names
            (chosen.discard if body.get("mended") else chosen.add)(str(body["address"]).lower())
        elif kind == "endpoint":
            self.endpoint = body.get("error")
        elif kind == "forwarding":
            self.forwarding = body.get("error")
        elif kind == "domain":
            self.domains[str(body["domain"]).lower()] = str(body.get("taken_by") or "")
        elif kind == "deny":
            self.denials.append(ByHand(kind, str(body["match"]), int(body.get("times", 1)), 0))
        elif kind == "refuse":
            self.refusals.append(ByHand(str(body["error"]), str(body["match"]), int(body.get("times", 1)), 0))
        elif kind == "skipped":
            self.skipped[str(body["address"]).lower()] = int(body["count"]), bool(body.get("listed", True))
        elif kind == "password" and self.change_password is not None:
            self.change_password(str(body["password"]))
        elif kind == "status" and self.befall is not None:
            self.befall(str(body["batch"]), str(body["status"]))
        elif kind in self.parts:
            self.parts[kind](body)
        elif kind == "account":
            self.accounts[str(body["account"]).lower()] = str(body.get("trouble") or "")
        else:
            raise ValueError(f"unknown fault {kind!r}")

    def _use(self, fault: ByHand) -> None:
        fault.times -= 1
        if fault.times <= 0:
            self.by_hand.remove(fault)

    # -------------------------------------------------------------------------------------------- kill switch

    def arm(self, pid: int, at: int, when: str, stop: bool = False) -> None:
        """SIGKILL `pid` at the at-th request from now; `stop`: SIGSTOP, and its request goes on as if nothing were.

        ValueError for a process that is not another single one.
        """
        if pid <= 1 or pid == os.getpid():
            raise ValueError(f"pid {pid} is not a process to be killed")
        if when not in ("before", "after", "answered"):
            raise ValueError(f"when: {when!r} is not before, after or answered")
        self._kill = Kill(pid, self.requests + max(1, at), when, stop)  # type: ignore[arg-type]

    async def arrived(self, what: str = "") -> None:
        """A request of any protocol has arrived; nothing has been done about it yet. `what`: it, for rigs that name it.

        Raises Killed when its sender was killed just now: the request is as if it had never left.
        """
        self.requests += 1
        _ticket.set(self.requests)
        self.look_outside()
        if self._strike("before"):
            raise Killed("the sender was killed before its request was handled")

    async def answering(self) -> None:
        """It has been handled; its answer is about to be written."""
        self._strike("after")
        if self._kill is not None and self._kill.ticket == _ticket.get() and self._kill.when == "answered":
            asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._strike, "answered", _ticket.get())

    async def answered(self) -> None:
        """Its answer has been written. A protocol that cannot tell need not call it."""
        self._strike("answered")

    def _strike(self, when: str, ticket: int | None = None) -> bool:
        kill = self._kill
        if kill is None or kill.when != when or kill.ticket != (_ticket.get() if ticket is None else ticket):
            return False
        self._kill = None
        with suppress(ProcessLookupError):  # it ended by itself in the meantime
            os.kill(kill.pid, signal.SIGSTOP if kill.stop else signal.SIGKILL)
        return not kill.stop
