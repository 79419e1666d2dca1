"""Carries a program out: read, compare, gate, note the intent, act, note the result, read again.

One driver decides and writes the journal; workers only call remote systems. A row that cannot go on never blocks
the others: it is parked with its reason, and the run goes on until nothing more can be done now. With `wait` the
driver then waits for time and for people's words; without it, the process ends and the next run goes on from the
journal.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from engine.connections import Site
from engine.contract import (
    MET,
    Diff,
    ExitCode,
    Listener,
    Outcome,
    Phase,
    Plan,
    Problem,
    Program,
    Refusal,
    Template,
    first_exit,
)
from engine.run import gates
from engine.run.act import EACH_ROWS, HANDED_LOOK, Acting
from engine.run.floor import ActJob, JudgeJob, Parked, ReadJob, stands_still
from engine.run.graph import Selection
from engine.run.journal import Journal, Record
from engine.run.lease import HEARTBEAT_SECONDS, announced, holder
from engine.run.plan import MEANING_BYTES, Preview
from engine.run.preflight import Preflight, asking_again, judge, judge_clock
from engine.run.stand import Seen, Word, compare, look_at, read
from engine.world import World

#: A wait that ends so much too late: the machine slept, or its clock has jumped. Which of them is asked of a service.
LATE = timedelta(hours=1)
#: Rows journalled in one transaction at most.
GROUP_ROWS = 1000


class Run(Acting):
    """One run of a program. Made by `run`; its methods are the driver's steps, in the order a row goes through."""

    preflight: Preflight | None = None

    def plan(self) -> Plan:
        """The preview that precedes every run; what is already as wanted is journalled and done."""
        preview = Preview(self.stand, self.world, note=self._note_satisfied, facts=self.facts,
                          agreed=self.journal.consents())
        plan = preview.make()
        self.flush()
        self.stand.forget_predictions()
        return plan

    def go(self, plan: Plan) -> Outcome:
        """Until nothing more can be done now, and with `wait` until nothing more can be done at all."""
        self.consents = self.journal.consents()
        self.append([Record("run", body={
            "playbook": self.program.playbook, "digest": plan.digest, "started": self.world.clock.now(),
            "tasks": [dict(task, index=index) for index, task in enumerate(plan.tasks)]})])
        self.flush()
        for template in self.program.templates if self.stand.fold.unknown else ():
            phases = self.stand.phases[template.index]
            self._bound(template, (slot for slot in range(template.slots()) if phases[slot] in MET))
        self.count_conversions()
        self.tell("run_started", total=sum(len(phases) for phases in self.stand.phases))
        for task in self.stand.order:
            unmet = self.stand.needs.unmet[task]
            for slot, phase in enumerate(self.stand.phases[task]):
                if phase == Phase.PENDING and unmet[slot] == 0:
                    self.ready(task, slot)
        try:
            while True:
                self._drain()
                self._wake()
                self.flush()
                self._begun = self.start_acts() | self.read_back() | self.hand_over() | self._schedule()
                if self._begun or self.workers.busy():
                    continue
                if self._unblock():
                    continue
                if not self.wait or not self._pause():
                    break
        finally:
            self.workers.close()
        return self._end()

    def _note_satisfied(self, template: Template, page: Sequence[Seen]) -> None:
        now = self.world.clock.now()
        for one in page:
            self.stand.note_read(template.index, one.slot, now)
            held = one.past is not None and one.past.held_since is not None
            if not held or stands_still(one.past):
                self.record("settled", template, one, {
                    "index": template.index, "state": one.state,
                    "acted": not held and one.past is not None and one.past.intent_at is not None})
        if len(self.outbox) >= GROUP_ROWS:
            self.flush()

    def _stirred(self) -> bool:
        """While waiting: keep the lease alive – raises Refusal when it was lost – and listen for people."""
        self._beat()
        return self.journal.changed()

    def _beat(self) -> None:
        now = self.world.clock.now()
        if (now - self.last_beat).total_seconds() >= HEARTBEAT_SECONDS:
            self.journal.heartbeat()
            self.last_beat = now

    def _schedule(self) -> bool:
        """Begin pages while connections have room; True when anything was begun."""
        begun = False
        for task in self.stand.order:
            queue = self.queues[task]
            template = self.program.templates[task]
            module = template.module
            size = module.page_rows if module.reads == "listing" else EACH_ROWS
            while queue and (module.reads == "journal" or self.workers.room(module.connection) > 0):
                self.flush()  # what is begun now may count with what was just settled
                self._begin(template, [queue.popleft() for _ in range(min(size, len(queue)))])
                begun = True
        return begun

    def _drain(self) -> None:
        """Take finished work; wait for some when there is nothing else to do."""
        block = not self._begun
        while self.workers.busy():
            done = self.workers.finished(HEARTBEAT_SECONDS if block else 0.0)
            if done is None:
                if block:
                    self._beat()
                    continue
                return
            block = False
            job, result, error = done
            if isinstance(job, ReadJob):
                self.on_read(job, result, error)
            elif isinstance(job, JudgeJob):
                self.on_judged(job, result, error)
            elif isinstance(job, ActJob):
                self.on_acted(job, result, error)
            if len(self.outbox) >= GROUP_ROWS:
                self.flush()

    def _wake(self) -> None:
        now = self.world.clock.now()
        woken = False
        while self.wakes and self.wakes[0][0] <= now:
            _, task, slot = heapq.heappop(self.wakes)
            parked = self.parked.get((task, slot))
            if parked is not None and parked.until is not None and parked.until <= now:
                self.ready(task, slot)
                woken = True
        if woken:
            self.site.forget()

    def _unblock(self) -> bool:
        """Rows a guard or an unknown value stopped are judged again when anything has moved since."""
        again = [place for place, parked in self.parked.items()
                 if parked.what in ("guard", "unknown", "expired") and parked.progress < self.progress]
        again += self.next_in_turn()
        if again:
            self.site.forget()
        for task, slot in again:
            self.ready(task, slot)
        return bool(again)

    def _pause(self) -> bool:
        """Wait for the next due time or a person's word; False when neither can come any more."""
        self.flush()
        now = self.world.clock.now()
        waits = [parked.until for parked in self.parked.values() if parked.until is not None]
        # a missing consent cannot be given to a run under way: that is not worth waiting for
        persons = any(parked.phase in _ON_PERSON and parked.what not in ("consent", "drift", "unknown")
                      for parked in self.parked.values())
        if not waits and not persons:
            return False
        until = min(waits) if waits else None
        if self.preflight is not None and (next_look := self.preflight.next_look()) is not None:
            until = min(until, next_look) if until is not None else next_look
        self.tell("waiting", until=until, persons=persons)
        self.journal.heartbeat()
        self.world.clock.wait(until, self._stirred)
        self.journal.heartbeat()
        self.take_in()
        self.site.forget()
        self.tell("waited", since=now)
        late = until is not None and self.world.clock.now() - until > LATE
        if self.preflight is not None and (late or self.preflight.due()):
            self._look_around(self.preflight)
        return True

    def _look_around(self, preflight: Preflight) -> None:
        """Once a day, what no task looks at. Raises Refusal when something now forbids going on; what cannot be told
        in the middle of a run is left to the guards, and to the next look."""
        findings = preflight.look()
        judge_clock(findings)
        fresh = preflight.note(findings)
        self.append(fresh)
        self.flush()
        for record in fresh:
            for each in record.body["findings"]:
                self.tell("observed", **each)
        try:
            judge(found for found in findings if found.told)
        except Refusal as refusal:
            self._end(refusal.exit_code)
            raise

    def heard(self, words: Sequence[Record]) -> None:
        """A person has said something: what waits for people looks again, and the rows they spoke of."""
        rows = {(word.row_kind, word.row) for word in words}
        for (task, slot), parked in list(self.parked.items()):
            template = self.program.templates[task]
            spoken_of = (template.kind, template.row(slot)) in rows
            if parked.phase in _ON_PERSON or spoken_of:
                if spoken_of:
                    self.tries.pop((task, slot), None)
                self.ready(task, slot)
        self.consents = self.journal.consents()

    def _begin(self, template: Template, slots: list[int]) -> None:
        now = self.world.clock.now()
        slots = [slot for slot in slots if self.stand.phases[template.index][slot] == Phase.READY]
        seen, words = self.stand.prepare(template, slots, now)
        for word in words:
            self._word(template, word)
        self._bound(template, (one.slot for one in seen))
        self._bound(template, (word.slot for word in words if word.word in _MET_WORDS or word.seen is not None))
        seen = [one for one in seen if self._waited_facts_are_fresh(template, one)]
        if template.module.reads == "journal":
            self._journal_page(template, seen, now)
            return
        if seen:
            self.submit(ReadJob(template, seen), template.module.connection, lambda: read(self.site, template, seen))

    def _word(self, template: Template, word: Word) -> None:
        task, slot, row = template.index, word.slot, template.row(word.slot)
        if word.word in _MET_WORDS:
            if word.seen is not None:
                self.stand.keep_record(task, word.seen)
            self.met(template, slot, _MET_WORDS[word.word])
            return
        one = word.seen or self.stand.unbound(template, slot)
        if word.word == "held":
            self.park(template, slot, row, one, Parked(Phase.HELD, "held", "on hold"))
        elif word.word == "waits" and word.until is not None:
            after = gates.outlasted(self.stand, template, row, word.until)
            self.park(template, slot, row, one, Parked(Phase.WAITING, "wait", word.reason + after, word.until))
        else:
            self.park(template, slot, row, one, Parked(Phase.BLOCKED, "unknown", word.reason, progress=self.progress))

    def _bound(self, template: Template, slots: Iterable[int]) -> None:
        """Rows of which a value was not known, and now is or is no longer asked for: they stand still no more."""
        unknown = self.stand.fold.unknown
        for slot in slots if unknown else ():
            one = self.stand.unbound(template, slot)
            if one.identity in unknown:
                self.record("bound", template, one, {"index": template.index})

    def _waited_facts_are_fresh(self, template: Template, one: Seen) -> bool:
        """A wait's end needs a satisfying read newer than the end: look again at what the wait counted from."""
        if not template.wait_registers or (one.past is not None and one.past.last in ("intent", "result", "handed")):
            return True
        due = template.not_before(one.slot, self.stand)
        if not isinstance(due, datetime):
            return True
        stale = [
            (above, slot)
            for above in self.program.templates
            if above.register and (above.kind, above.register) in template.wait_registers
            and above.kind == template.kind and above.module.reads != "journal"
            for slot in above.slots_of(one.row)
            if self.stand.phases[above.index][slot] == Phase.DONE
            and self.stand.read_at.get((above.index, slot), due) < due
        ]
        for above, slot in stale:
            page, _ = self.stand.prepare(above, [slot], self.world.clock.now(), wait=False)
            for upstream in page:
                compare([upstream], look_at(self.site, above, [upstream]))
                if upstream.unknown is not None:
                    self.unread(template, one, upstream.unknown)
                    return False
                if upstream.diff is not None:
                    self.record("unsettled", above, upstream, {"index": above.index, "state": upstream.state})
                    self.flush()
                    self.ready(above.index, slot)  # done no more: it stands still itself, and says what it needs
                    self.park(template, one.slot, one.row, one, Parked(
                        Phase.BLOCKED, "drift", f"«{above.name}» is no longer as it was left",
                        self.world.clock.now() + HANDED_LOOK))
                    return False
                self.stand.note_read(above.index, slot, self.world.clock.now())
                self.stand.keep(above.index, upstream, upstream.state)
        return True

    def _journal_page(self, template: Template, seen: list[Seen], now: datetime) -> None:
        """Approvals and checklists are asked; letters and tests are acts whose record is their state."""
        asks = template.module_name in ("approval", "checklist")
        acts = []
        for one in seen:
            past = one.past
            if asks:
                state = gates.answer(template, one.identity, self.stand.fold, self.program, now)
                if state is not None:
                    one.state = state
                    self.settle(template, one, acted=False)
                else:
                    question = gates.ask(template, one.module, self.program, now)
                    self.park(template, one.slot, one.row, one,
                               Parked(Phase.ASKING, question.what, question.reason), ask=question.body)
                continue
            if past is not None and past.held_since is not None:
                self._word(template, Word(one.slot, "record", seen=one))
                continue
            one.diff = Diff("send", (), None)
            if past is not None and past.last == "intent" and template.module.effect == "send":
                self.submit(ReadJob(template, [one]), template.module.connection,
                             lambda one=one: read(self.site, template, [one]))  # type: ignore[misc]
                continue
            acts.append(one)
        self.consider(template, acts)

    def _end(self, exit_code: ExitCode | None = None) -> Outcome:
        self.flush()
        counts: dict[str, int] = {}
        by_task = []
        for phases in self.stand.phases:
            mine = {phase.name.lower(): phases.count(phase.value) for phase in Phase if phases.count(phase.value)}
            by_task.append(mine)
            for name, count in mine.items():
                counts[name] = counts.get(name, 0) + count
        waits = [parked.until for parked in self.parked.values() if parked.until is not None]
        predictions, by_module = self._agreement(counts)
        outcome = Outcome(
            exit_code=exit_code or first_exit([
                _EXIT[parked.phase] if parked.what != "doubt" or parked.phase == Phase.WAITING else ExitCode.DOUBT
                for parked in self.parked.values() if parked.phase in _EXIT]),
            counts=counts, changed=self.changed, next_wake=min(waits) if waits else None,
            predictions=predictions, by_module=by_module)
        self.append([Record("ended", body={
            "exit_code": int(outcome.exit_code), "counts": counts, "by_task": by_task, "next_wake": outcome.next_wake,
            "changed": self.changed, "predictions": predictions, "predictions_by_module": by_module})])
        self.flush()
        self.tell("run_ended", outcome=outcome)
        return outcome

    def _agreement(self, counts: Mapping[str, int]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """Predictions against what happened, in all and by module. What is open when every row has ended was wrong."""
        by_module = self.stand.fold.agreement(self.consents)
        made = sum(1 for token in self.consents if len(token) == MEANING_BYTES)
        for record in self.journal.records(kinds=("consented",)):
            for name, count in (record.body.get("asked") or {}).items():
                mine = by_module.setdefault(name, {"kept": 0, "uncovered": 0})
                mine["made"] = mine.get("made", 0) + count
        ended = sum(counts.get(phase.name.lower(), 0) for phase in MET) == sum(counts.values())
        whole = {"made": made, "kept": 0, "uncovered": 0, "broken": 0, "open": 0}
        for mine in by_module.values():
            mine.setdefault("made", mine["kept"])  # consented to before consents were counted by module
            still = max(0, mine["made"] - mine["kept"])
            mine |= {"broken": still if ended else 0, "open": 0 if ended else still}
            whole["kept"] += mine["kept"]
            whole["uncovered"] += mine["uncovered"]
        whole["broken" if ended else "open"] = made - whole["kept"]
        return whole, by_module


def _kept(journal: Journal) -> bool:
    """Keeps the lease while nothing is done yet; never ends the wait."""
    journal.heartbeat()
    return False


_MET_WORDS = {"skipped": Phase.SKIPPED, "waived": Phase.WAIVED, "superseded": Phase.SUPERSEDED, "record": Phase.DONE}
_ON_PERSON = frozenset({Phase.ASKING, Phase.HANDED, Phase.BLOCKED, Phase.HELD})
_EXIT = {
    Phase.FAILED: ExitCode.SOME_FAILED,
    Phase.ASKING: ExitCode.PARKED_ON_PERSON,
    Phase.HANDED: ExitCode.PARKED_ON_PERSON,
    Phase.BLOCKED: ExitCode.PARKED_ON_PERSON,
    Phase.HELD: ExitCode.PARKED_ON_PERSON,
    Phase.WAITING: ExitCode.PARKED_ON_TIME,
}


def run(program: Program, site: Site, journal: Journal, world: World, *, selection: Selection | None = None,
        wait: bool = False, listener: Listener | None = None,
        consent: Callable[[Plan], bool] | None = None, saved_plan: Plan | None = None) -> Outcome:
    """Carry a program out, or go on with it. Takes the journal's lease for its duration.

    `consent` is shown the plan when it contains acts nobody has consented to yet; without it, or when it says no,
    only what was consented before is done. Raises Refusal (locked, preflight, budget, stale plan, journal),
    Invalid, or Fault when the first reading already fails.
    """
    journal.hold(holder(world), announced(listener, world))
    site.before_call = journal.confirm
    pulse = world.pulse(HEARTBEAT_SECONDS, journal.heartbeat)
    try:
        preflight = Preflight(program, site, journal, world)
        findings = preflight.look_patiently(lambda: _kept(journal), wait=wait, tell=asking_again(listener, world))
        judge_clock(findings)
        if fresh := preflight.note(findings):
            journal.append(fresh)
        judge(findings)
        if pins := preflight.pins():
            journal.append(pins)
        driver = Run(program, site, journal, world, selection or Selection(), listener, wait)
        driver.preflight = preflight
        plan = driver.plan()
        plan.findings = findings
        if saved_plan is not None and plan.tokens - saved_plan.tokens - journal.consents():
            raise Refusal(ExitCode.STALE, Problem(
                "the saved plan is stale", found=f"{len(plan.tokens - saved_plan.tokens)} act(s) it did not show",
                remedy="Make a new plan and look at it.", next_command=f"mailmove plan {program.playbook}"))
        new = plan.tokens - journal.consents()
        if new and (saved_plan is not None or (consent is not None and consent(plan))):
            journal.consent(new, by=world.user, asked=plan.asked)
        return driver.go(plan)
    finally:
        pulse.close()
        journal.release()
