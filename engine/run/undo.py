"""Takes back what the journal says we did, newest first: read, compare, ask, note the intent, write back, read again.

A row is put on hold before anything of it is taken back, so that no run does it again; each step is journalled like
an act (`undoing` → `result` → `undone`), so that a killed undo goes on where it stood. It stops for a row at the first
act that cannot be taken back, and says so; and it refuses what somebody has changed since, unless that is consented to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from engine.connections import Site
from engine.contract import (
    Event,
    ExitCode,
    Fault,
    Handover,
    InDoubt,
    Listener,
    Problem,
    Program,
    Refusal,
    State,
    Unknown,
    first_exit,
)
from engine.run import gates
from engine.run.chain import Chain, Step
from engine.run.guards import Verdict
from engine.run.handing import joined, moved_on, told
from engine.run.journal import Journal, Record
from engine.run.lease import HEARTBEAT_SECONDS, announced, holder
from engine.run.preflight import check_identity
from engine.run.showing import kept
from engine.run.stand import label
from engine.run.undo_plan import Line, UndoPlan, UndoPreview, changed_text, lost, preview
from engine.world import World

__all__ = ["Line", "UndoOutcome", "UndoPlan", "preview", "undo"]

#: While a step settles, and while a person has it in hands, how often to look.
SETTLE_LOOK = timedelta(minutes=1)
HANDED_LOOK = timedelta(minutes=15)
GUARD_LOOK = timedelta(hours=1)
#: Steps whose intents are made durable together.
CHUNK_ROWS = 20
#: Of rows asked for together, so many are named in the command that goes on.
ROWS_TYPED = 4
#: Pauses between tries of a step whose remote side is out of reach; after the last it fails.
TRY_AGAIN = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 4, 8, 15, 30, 60))


@dataclass
class UndoOutcome:
    """How an undo ended. `stopped`: the rows whose way back ends at an act that cannot be taken back."""

    exit_code: ExitCode
    undone: int = 0
    stopped: list[Line] = field(default_factory=list)
    parked: list[Line] = field(default_factory=list)
    next_wake: datetime | None = None


@dataclass(slots=True)
class _Parked:
    """Why a row's way back does not go on now. `exit_code`: what it makes of the run."""

    line: Line
    exit_code: ExitCode
    until: datetime | None = None


class Undo(UndoPreview):
    """One undo, carried out. Only its driver touches the journal; one step of each row at a time."""

    def __init__(self, program: Program, site: Site, journal: Journal, world: World, *, rows: Sequence[str],
                 task: str | None, over_changes: bool, by: str, reason: str, listener: Listener | None,
                 wait: bool) -> None:
        super().__init__(program, site, journal, world, rows=rows, task=task, over_changes=over_changes)
        self.by, self.reason, self.listener, self.wait = by, reason, listener, wait
        self.consents: set[bytes] = set()
        self._parked: dict[tuple[str, str], _Parked] = {}
        self._stopped: dict[tuple[str, str], Line] = {}
        self._begun: set[bytes] = set()
        self._tries: dict[bytes, int] = {}
        self._undone = 0

    def go(self) -> UndoOutcome:
        """Take back what was consented to, until nothing more can be done now; with `wait`, at all."""
        self.consents = self.journal.consents()
        while True:
            step = self._next()
            if step is not None:
                self._page(step)
            elif not (self.wait and self._pause()):
                break
        parked = [each.line for each in self._parked.values()]
        codes = [each.exit_code for each in self._parked.values()] + [ExitCode.REFUSED] * bool(self._stopped)
        wakes = [each.until for each in self._parked.values() if each.until is not None]
        return UndoOutcome(first_exit(codes), self._undone, list(self._stopped.values()), parked,
                           min(wakes, default=None))

    def _hold(self, chains: Sequence[Chain]) -> None:
        """Durable before the first step of a row: what is taken back is not done again by the next run."""
        rows = [chain.row for chain in chains if not self.stand.fold.held(chain.kind, chain.row)]
        if rows:
            reason = f"undo: {self.reason}" if self.reason else "undo"
            self.journal.say(*(Record("held", row=row, body={"by": self.by, "reason": reason})
                               for row in dict.fromkeys(rows)))
            self.stand.catch_up()

    def _next(self) -> list[tuple[Chain, Step]] | None:
        """The newest steps that are due, of one task, for as many rows as one chunk of intents may leave in doubt."""
        if self.journal.changed():
            self.stand.catch_up()
        if self.stand.fold.all_held:
            return None  # the red button stops an undo as well
        due: dict[int, list[tuple[Chain, Step]]] = {}
        for chain in self.chains:
            if (chain.kind, chain.row) in self._parked or (chain.kind, chain.row) in self._stopped:
                continue
            if chain.lost:
                self._stop(chain, lost(chain, chain.lost[0].task, chain.lost[0].key))
                continue
            while chain.steps and chain.steps[0].stays:
                chain.steps.pop(0)
            if chain.steps:
                step = chain.steps[0]
                due.setdefault(self.stand.position[step.template.index], []).append((chain, step))
        return due[max(due)][:CHUNK_ROWS] if due else None

    def _page(self, page: Sequence[tuple[Chain, Step]]) -> None:
        self.site.forget()
        read = self.read([step for _, step in page])
        go = [(chain, step) for chain, step in page if self._may_go(chain, step, read[id(step)])]
        if not go:
            return
        self._hold([chain for chain, _ in go])
        self._append([self._record("undoing", step, {
            "index": step.template.index, "verb": step.diff.verb, "before": step.state,
            "changes": [[each.field, each.before, each.after] for each in step.diff.changes]})
            for _, step in go if step.diff is not None])
        handing: dict[str, list[tuple[Chain, Step, Handover]]] = {}
        acted = [(chain, step) for chain, step in go if self._write_back(chain, step, handing)]
        self._hand_over(handing)
        if acted:
            self.site.forget()
            read = self.read([step for _, step in acted])
            for chain, step in acted:
                state = read[id(step)]
                if not isinstance(state, Unknown):
                    self.look(step, state)
                    if step.diff is None:
                        self._settled(chain, step)
                        continue
                self._park(chain, step, "waiting", "service", "written back; not visible yet",
                           self.world.clock.now() + SETTLE_LOOK)

    def _may_go(self, chain: Chain, step: Step, state: State | Unknown | None) -> bool:
        """Whether this step is written back now; else it is settled, parked, failed, or stops its row."""
        now = self.world.clock.now()
        if isinstance(state, Unknown):
            self._again(chain, step, state.reason)
            return False
        self.look(step, state)
        if step.diff is None:
            self._settled(chain, step)
            return False
        try:
            final = step.final(self.site)
        except Fault as fault:
            self._again(chain, step, str(fault), passing=fault.passing)
            return False
        if final:
            self._stop(chain, self.line(chain, step, "stops", final))
            return False
        return self._under_way(chain, step, now) and self._allowed(chain, step, now)

    def _under_way(self, chain: Chain, step: Step, now: datetime) -> bool:
        """An undo that was begun before: wait until it shows, or until the person has done it."""
        past = self.stand.fold.past(step.identity)
        if past is None or past.last not in ("result", "handed"):
            return True
        if past.last == "handed":
            assert step.diff is not None
            if moved_on(self.stand.fold, self.journal, step.identity, past, step.template.module, step.diff):
                return True  # something of it was done: what is left is worded anew
            handed = self.stand.fold.handover(step.identity) or {}
            self._park(chain, step, "handed", "handover", str(handed.get("title") or "handed to a person"),
                       now + HANDED_LOOK, handover=handed)
            return False
        if past.result_ok and past.result_at is not None:
            deadline = past.result_at + step.module.settles_within
            if now < deadline:
                self._park(chain, step, "waiting", "service", "written back; not visible yet",
                           min(now + SETTLE_LOOK, deadline))
                return False
            if step.identity in self._begun:
                self._fail(chain, step, "it was written back, but that never became visible",
                           "Look at the remote side, then undo again.")
                return False
        return True

    def _allowed(self, chain: Chain, step: Step, now: datetime) -> bool:
        """Changes since, consent, window and guards."""
        if step.changed and not self.over_changes:
            self._park(chain, step, "blocked", "changed", changed_text(step), None)
            return False
        if self.token(step) not in self.consents:
            self._park(chain, step, "blocked", "consent", "nobody has consented to taking this back", None)
            return False
        template = step.template
        opening = gates.opens_at(self.program.windows[template.window], now) if template.window else None
        if opening is not None:
            self._park(chain, step, "waiting", "window", f"window {template.window} is closed", opening)
            return False
        no = next((verdict for verdict in self.judged(step) if not verdict.passed), None)
        if no is not None:
            self._refused(chain, step, no, now)
        return no is None

    def _refused(self, chain: Chain, step: Step, no: Verdict, now: datetime) -> None:
        """Parked on its guard; where a person's word would let it through, with the question, and how to go on then."""
        ask = None
        if no.question:
            named = ["--task", self.task] if self.task else []
            rows = self.rows if len(self.rows) <= ROWS_TYPED else (step.row,)
            ask = {"question": no.question, "then": ["undo", *rows, *named, "--reason", self.reason]}
        self._park(chain, step, "asking" if ask else "blocked", "guard", f"{no.guard}: {no.reason}",
                   no.until or now + GUARD_LOOK, ask=ask)

    def _write_back(self, chain: Chain, step: Step, handing: dict[str, list[tuple[Chain, Step, Handover]]]) -> bool:
        """True when the answer was yes and it is to be read back; what a person has to do is put into `handing`."""
        assert step.diff is not None
        self._begun.add(step.identity)
        index = step.template.index
        try:
            answer = step.module.restore(self.site, step.diff, step.before)
        except InDoubt as fault:
            self._park(chain, step, "waiting", "doubt", f"no answer came: {fault.text}",
                       self.world.clock.now() + SETTLE_LOOK)
            return False
        except Fault as fault:
            self._append([self._record("result", step, {"index": index, "ok": False, "fault": {
                "class": type(fault).__name__, "code": fault.code, "text": fault.text,
                "request_id": fault.request_id, "remedy": fault.remedy}})])
            at_least = fault.retry_after or 0.0
            self._again(chain, step, str(fault), remedy=fault.remedy, passing=fault.passing, at_least=at_least)
            return False
        if isinstance(answer, Handover):
            handing.setdefault(step.module.handover_group() or step.identity.hex(), []).append((chain, step, answer))
            return False
        self._append([self._record("result", step, {"index": index, "ok": True})])
        return True

    def _hand_over(self, handing: Mapping[str, list[tuple[Chain, Step, Handover]]]) -> None:
        """One script for the rows of a group, as in a run."""
        for group in handing.values():
            group.sort(key=lambda each: not each[2].urgent)
            whole, leader = joined([answer for _, _, answer in group]), group[0][1].identity.hex()
            for number, (chain, step, _) in enumerate(group):
                handed = told(whole, number, leader)
                self._append([self._record("result", step, {
                    "index": step.template.index, "ok": True, "handed": handed})])
                self._park(chain, step, "handed", "handover", whole.title, self.world.clock.now() + HANDED_LOOK,
                           handover=handed)

    # ------------------------------------------------------------------------------------------- how a step ends

    def _settled(self, chain: Chain, step: Step) -> None:
        """As it was before us, read back: from here on the act was never ours."""
        past = self.stand.fold.past(step.identity)
        acted = past is not None and bool(past.intent_seq)
        record = self._record("undone", step, {"index": step.template.index, "state": step.state, "acted": acted,
                                               "by": self.by, "reason": self.reason})
        self._append([record._replace(identity=step.act.identity)])
        self._undone += acted
        chain.steps.remove(step)
        self._tell("undone", step, acted=acted)

    def _stop(self, chain: Chain, line: Line) -> None:
        self._stopped[chain.kind, chain.row] = line
        if self.listener is not None:
            self.listener(Event("stopped", self.world.clock.now(), line.task, line.row, {"reason": line.text}))

    def _again(self, chain: Chain, step: Step, reason: str, *, remedy: str = "", passing: bool = True,
               at_least: float = 0.0) -> None:
        tries = self._tries.get(step.identity, 0)
        self._tries[step.identity] = tries + 1
        if not passing or tries >= len(TRY_AGAIN):
            self._fail(chain, step, reason, remedy)
            return
        pause = max(TRY_AGAIN[tries], timedelta(seconds=at_least))
        self._park(chain, step, "waiting", "fault", reason, self.world.clock.now() + pause)

    def _fail(self, chain: Chain, step: Step, reason: str, remedy: str) -> None:
        line = self.line(chain, step, "failed", reason if not remedy else f"{reason}. {remedy}")
        self._parked[chain.kind, chain.row] = _Parked(line, ExitCode.SOME_FAILED)
        self._append([self._record("failed", step, {"index": step.template.index, "phase": "failed", "what": "fault",
                                                    "reason": reason, "remedy": remedy})])
        self._tell("failed", step, reason=reason, remedy=remedy)

    def _park(self, chain: Chain, step: Step, phase: str, what: str, reason: str, until: datetime | None, *,
              handover: Mapping[str, Any] | None = None, ask: Mapping[str, Any] | None = None) -> None:
        code = ExitCode.PARKED_ON_TIME if phase == "waiting" else ExitCode.PARKED_ON_PERSON
        self._parked[chain.kind, chain.row] = _Parked(
            self.line(chain, step, what, reason, question=str((ask or {}).get("question", ""))), code, until)
        past = self.stand.fold.past(step.identity)
        if past is not None and past.parked_as(phase, what, reason):
            return
        body: dict[str, Any] = {"index": step.template.index, "phase": phase, "what": what, "reason": reason,
                                "remedy": "", "until": until, "since": self.world.clock.now()}
        if handover is not None:
            body["handover"] = dict(handover)
        if ask is not None:
            body["ask"] = dict(ask)
        self._append([self._record("parked", step, body)])
        self._tell("parked", step, phase=phase, what=what, reason=reason, until=until)

    def _pause(self) -> bool:
        """Wait for the next due time; False when none will come."""
        wakes = [each.until for each in self._parked.values() if each.until is not None]
        if not wakes:
            return False
        self.journal.heartbeat()
        self.world.clock.wait(min(wakes), self.journal.changed)
        self.journal.heartbeat()
        spoken_of = {(word.row_kind, word.row) for word in self.stand.catch_up()}
        now = self.world.clock.now()
        for place in [place for place, each in self._parked.items()
                      if place in spoken_of or (each.until is not None and each.until <= now)]:
            del self._parked[place]
        return True

    def _record(self, kind: str, step: Step, body: Mapping[str, Any]) -> Record:
        return Record(kind, label(step.template), step.template.kind, step.row, step.act.key,
                      step.template.module_name, step.identity, kept(step.template.module, body))

    def _append(self, records: Sequence[Record]) -> None:
        self.stand.appended(records, self.journal.append(records))

    def _tell(self, kind: str, step: Step, **fields: Any) -> None:
        if self.listener is not None:
            self.listener(Event(kind, self.world.clock.now(), label(step.template), step.row, fields))


def undo(program: Program, site: Site, journal: Journal, world: World, *, rows: Sequence[str], task: str | None,
         by: str, reason: str, over_changes: bool = False, wait: bool = False, listener: Listener | None = None,
         consent: Callable[[UndoPlan], bool]) -> UndoOutcome | None:
    """Take back our acts on these rows. Takes the journal's lease for its duration; None: nobody consented.

    `consent` is shown the preview when it holds steps that nobody has consented to yet. Raises Refusal (locked, wrong
    tenant, everything on hold, unknown rows), or Fault when nothing can be read.
    """
    journal.hold(holder(world), announced(listener, world))
    site.before_call = journal.confirm
    pulse = world.pulse(HEARTBEAT_SECONDS, journal.heartbeat)
    try:
        check_identity(program, site, journal, world.clock.now())
        driver = Undo(program, site, journal, world, rows=rows, task=task, over_changes=over_changes, by=by,
                      reason=reason, listener=listener, wait=wait)
        if driver.stand.fold.all_held:
            raise Refusal(ExitCode.PARKED_ON_PERSON, Problem(
                "everything is on hold", found="Nothing is touched while it is, in neither direction.",
                remedy="Take the hold back first.", next_command="mailmove release"))
        plan = driver.preview()
        new = plan.tokens - journal.consents()
        if new and not consent(plan):
            return None
        if new:
            journal.consent(new, by=by)
        return driver.go()
    finally:
        pulse.close()
        journal.release()
