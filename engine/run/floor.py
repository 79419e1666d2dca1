"""What every step of a run stands on: notes for the journal, phases, parking, and how a row ends."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from engine.connections import Site
from engine.contract import Event, Handover, Listener, Phase, Program, Template, Unknown
from engine.run import guards
from engine.run.facts import JournalFacts
from engine.run.fold import Past
from engine.run.graph import Selection
from engine.run.journal import Journal, Record
from engine.run.plan import nth_of_module
from engine.run.showing import kept
from engine.run.stand import Seen, Stand, Unbound, label
from engine.world import Workers, World

#: Pauses between tries of a row whose remote side is out of reach; after the last it fails.
TRY_AGAIN = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 4, 8, 15, 30, 60))
#: A service is waited for so long where the task says nothing else (`timeout`); then a person is asked.
WAIT_MAX = timedelta(days=30)


@dataclass(slots=True)
class Parked:
    """Why a row does not go on: what the screen, `status` and the exit code are made of."""

    phase: Phase
    what: str
    reason: str
    until: datetime | None = None
    progress: int = 0


@dataclass(slots=True)
class ReadJob:
    template: Template
    page: list[Seen]


@dataclass(slots=True)
class JudgeJob:
    template: Template
    page: list[Seen]


@dataclass(slots=True)
class ActJob:
    template: Template
    page: list[Seen]


class Floor:
    """The driver's ground: only the driver thread touches it."""

    def __init__(self, program: Program, site: Site, journal: Journal, world: World, selection: Selection,
                 listener: Listener | None, wait: bool) -> None:
        self.program = program
        self.site = site
        self.journal = journal
        self.world = world
        self.listener = listener
        self.wait = wait
        self.stand = Stand(program, journal, site, selection)
        self.workers: Workers = world.workers()
        self.facts = JournalFacts(self.stand)
        self.guards = guards.Guards(program, site, self.facts)
        self.nth = nth_of_module(program)
        self.labels = [label(template) for template in program.templates]
        self.consents: set[bytes] = set()
        self.queues: dict[int, deque[int]] = {task: deque() for task in self.stand.order}
        self.wakes: list[tuple[datetime, int, int]] = []
        self.parked: dict[tuple[int, int], Parked] = {}
        self.tries: dict[tuple[int, int], int] = {}
        self.outbox: list[Record] = []
        #: what is told once the records before it are durable: nothing is shown as done that a full disk takes back
        self.events: list[Event] = []
        #: looks that found nothing new: identity → (reason, next look); written with the next flush
        self.polls: dict[bytes, tuple[str, datetime | None]] = {}
        #: acts under way, and acted rows to be read back, by task
        self.acting: Counter[int] = Counter()
        self.acted: dict[int, list[Seen]] = {}
        #: what is to be handed to a person, by task and group
        self.handing: dict[tuple[int, str], list[tuple[Seen, Handover]]] = {}
        self.progress = 0
        self.changed = 0
        #: conversions begun and not read back as wanted yet, by whichever run
        self.converting: set[tuple[int, int]] = set()
        #: acts that passed everything and wait for room at their connection
        self.backlog: dict[int, deque[Seen]] = {}
        self.guarded_acts = 0
        self.last_beat = world.clock.now()
        self._begun = True

    def record(self, kind: str, template: Template, one: Seen | Unbound, body: dict[str, Any]) -> None:
        self.outbox.append(Record(kind, self.labels[template.index], template.kind, one.row, one.key,
                                  template.module_name, one.identity, kept(template.module, body)))

    def append(self, records: Iterable[Record]) -> None:
        self.outbox.extend(records)

    def flush(self) -> None:
        """Make everything noted so far durable, in one transaction, and take it in."""
        if self.polls:
            polls, self.polls = self.polls, {}
            self.journal.remember(polls)
        if self.outbox:
            records, self.outbox = self.outbox, []
            words = self.stand.appended(records, self.journal.append(records))
            self.last_beat = self.world.clock.now()
            events, self.events = self.events, []
            if self.listener is not None:
                for event in events:
                    self.listener(event)
            if words:
                self.heard(words)

    def tell(self, kind: str, template: Template | None = None, row: str = "", **fields: Any) -> None:
        if self.listener is None:
            return
        event = Event(kind, self.world.clock.now(), self.labels[template.index] if template else "", row, fields)
        if self.outbox:
            self.events.append(event)
        else:
            self.listener(event)

    def ready(self, task: int, slot: int) -> None:
        self.stand.phases[task][slot] = Phase.READY
        self.parked.pop((task, slot), None)
        self.queues[task].append(slot)

    def submit(self, job: ReadJob | JudgeJob | ActJob, connection: str, call: Callable[[], Any]) -> None:
        for one in job.page:
            self.stand.phases[job.template.index][one.slot] = Phase.ACTING
        self.workers.submit(connection, job, call)

    def since(self, template: Template, one: Seen, now: datetime) -> datetime:
        """When this row began to wait, over all runs."""
        past = one.past
        return (past.waiting_since if past is not None else None) or now

    def wait_for_service(self, template: Template, one: Seen, reason: str, now: datetime) -> None:
        since = self.since(template, one, now)
        seconds = template.timeout_seconds
        if now - since >= (WAIT_MAX if seconds is None else timedelta(seconds=seconds)):
            self.fail(template, one, "service", f"{reason}, and its timeout has passed", "Look at the remote side.")
            return
        pause = max(one.module.look_again, (now - since) / 10)
        self.park(template, one.slot, one.row, one, Parked(Phase.WAITING, "service", reason, now + pause), since=since)

    def settle(self, template: Template, one: Seen, *, acted: bool) -> None:
        past = one.past
        held = past is not None and past.held_since is not None
        if not held or stands_still(past):
            self.record("settled", template, one, {
                "index": template.index, "state": one.state, "acted": acted and not held})
        if acted and not held:
            self.changed += 1
            self.tell("settled", template, one.row)
        self.stand.keep(template.index, one, one.state)
        self.stand.note_read(template.index, one.slot, self.world.clock.now())
        self.met(template, one.slot, Phase.DONE)

    def met(self, template: Template, slot: int, phase: Phase) -> None:
        task = template.index
        self.stand.phases[task][slot] = phase
        self.converting.discard((task, slot))
        self.tries.pop((task, slot), None)
        if self.parked.pop((task, slot), None) is not None or phase == Phase.DONE:
            self.progress += 1
        for below, slots in self.stand.needs.met(task, (slot,)):
            phases = self.stand.phases[below]
            for each in slots:
                if phases[each] == Phase.PENDING:
                    self.ready(below, each)

    def try_again(self, template: Template, one: Seen, reason: str, *, remedy: str = "", passing: bool = True,
                  tries: int | None = None, at_least: float = 0.0) -> None:
        """Out of reach: again after a growing pause, `at_least` seconds; fails when it has been enough.

        `tries` before this one: of an act its attempts; of a read those since it was last read well.
        """
        place = (template.index, one.slot)
        if tries is None:
            tries = self.tries.get(place, 0)
            self.tries[place] = tries + 1
        now = self.world.clock.now()
        since = self.since(template, one, now)
        patient = template.timeout_seconds is not None and now - since < timedelta(seconds=template.timeout_seconds)
        if not passing or (tries >= len(TRY_AGAIN) and not patient):
            self.fail(template, one, "fault", reason, remedy)
            return
        pause = max(TRY_AGAIN[min(tries, len(TRY_AGAIN) - 1)], timedelta(seconds=at_least))
        self.park(template, one.slot, one.row, one, Parked(Phase.WAITING, "fault", reason, now + pause), since=since)

    def unread(self, template: Template, one: Seen, unknown: Unknown) -> None:
        """A row that could not be read is asked for again, not before the remote side wants to be asked."""
        self.try_again(template, one, unknown.reason, remedy=unknown.remedy, at_least=unknown.retry_after)

    def fail(self, template: Template, one: Seen, what: str, reason: str, remedy: str = "") -> None:
        place = (template.index, one.slot)
        self.progress += 1  # another row may now take its turn
        self.converting.discard(place)
        self.stand.phases[template.index][one.slot] = Phase.FAILED
        self.parked[place] = Parked(Phase.FAILED, what, reason)
        self.record("failed", template, one, {
            "index": template.index, "phase": "failed", "what": what, "reason": reason, "remedy": remedy})
        self.tell("failed", template, one.row, what=what, reason=reason, remedy=remedy)

    def park(self, template: Template, slot: int, row: str, one: Seen | Unbound, parked: Parked, *,
              ask: Any = None, handover: Any = None, since: datetime | None = None) -> None:
        place = (template.index, slot)
        past = self.stand.fold.past(one.identity)
        if template.module.family == "conversion":  # with a person, in doubt, not visible yet: it is still under way
            (self.converting.add if parked.phase == Phase.HANDED or open_act(past) else self.converting.discard)(place)
        self.stand.phases[template.index][slot] = parked.phase
        self.parked[place] = parked
        if parked.until is not None:
            heapq.heappush(self.wakes, (parked.until, *place))
        if past is not None and past.parked_as(parked.phase.name.lower(), parked.what, parked.reason):
            self.polls[one.identity] = (parked.reason, parked.until)
            return
        body: dict[str, Any] = {"index": template.index, "phase": parked.phase.name.lower(), "what": parked.what,
                                "reason": parked.reason, "remedy": "", "until": parked.until,
                                "since": since or self.world.clock.now()}
        if ask is not None:
            body["ask"] = dict(ask)
        if handover is not None:
            body["handover"] = handover
        self.record("parked", template, one, body)
        self.tell("parked", template, row, phase=parked.phase.name.lower(), what=parked.what, reason=parked.reason,
                  until=parked.until, ask=body.get("ask"))

    def count_conversions(self) -> None:
        """Those that earlier runs have left under way: they count from the start, not only once they are read."""
        templates = [each for each in self.program.templates if each.module.family == "conversion"]
        for past in self.stand.fold.under_way({each.module_name for each in templates}) if templates else ():
            record = self.journal.record(past.seq)
            mine = [each for each in templates if each.kind == record.row_kind
                    and (len(templates) == 1 or self.labels[each.index] == record.task)]
            for template in mine:
                if record.row in self.program.rows.keys(template.kind) and not self.stand.fold.waived(
                        template.kind, record.row, self.labels[template.index], template.id):
                    self.converting.update((template.index, slot) for slot in template.slots_of(record.row))

    def take_in(self) -> None:
        """Read what others have added to the journal."""
        words = self.stand.catch_up()
        if words:
            self.heard(words)

    def heard(self, words: Sequence[Record]) -> None:
        """A person has said something; the execution decides who looks again."""
        raise NotImplementedError


def open_act(past: Past | None) -> bool:
    """Whether an act has begun that may have had its effect, and has not settled."""
    return past is not None and (past.last in ("intent", "handed") or (past.last == "result" and past.result_ok))


def stands_still(past: Past | None) -> bool:
    """Whether its latest record says that it does not go on: a look that failed, say, after it had long been done.

    What is seen to be as wanted then says so again, or `status` would show it waiting for ever.
    """
    return past is not None and past.word in ("parked", "failed")
