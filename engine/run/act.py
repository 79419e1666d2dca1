"""What happens to a row that was read: wait, ask, judge, act, read again, or fail.

The record of one act: intent (durable) → apply → result → read → settled. What a crash leaves open is looked at before
anything is done again (`in_doubt`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import groupby, islice
from typing import Any

from engine.contract import (
    ExitCode,
    Failing,
    Fault,
    Handover,
    InDoubt,
    Phase,
    Problem,
    Refusal,
    Template,
    Unreachable,
    Waiting,
)
from engine.run import gates, guards
from engine.run.floor import ActJob, Floor, JudgeJob, Parked, ReadJob, open_act
from engine.run.fold import Past
from engine.run.handing import joined, moved_on
from engine.run.handing import told as told_of
from engine.run.plan import act_token, drifted, later_token, repair_token
from engine.run.stand import Seen, compare, read

#: After an act whose answer was lost, "absent" is believed only this long after the intent (visibility bound).
VISIBILITY_BOUND = timedelta(minutes=15)
#: While acts settle, how often to look.
SETTLE_LOOK = timedelta(minutes=1)
#: While a person has it in hands, how often to look.
HANDED_LOOK = timedelta(minutes=15)
#: How often a guard that said no, for reasons the world may mend, is asked again.
GUARD_LOOK = timedelta(hours=1)
#: How often a row that failed over there, in a way that another try may mend, is started again.
RESTARTS_MAX = 3


#: A decision older than this is taken anew before the act is begun: what it rested on may have moved (safety, fresh).
FRESH = timedelta(minutes=15)
#: Rows of one read where every row costs a call.
EACH_ROWS = 50


class Acting(Floor):
    """The steps between a read and its end."""

    def on_read(self, job: ReadJob, answers: Any, error: BaseException | None) -> None:
        template = job.template
        if error is not None:
            if not isinstance(error, Fault):
                raise error
            for one in job.page:
                self.try_again(template, one, str(error), remedy=error.remedy, passing=error.passing,
                               at_least=error.retry_after or 0.0)
            return
        compare(job.page, answers)
        now = self.world.clock.now()
        acts = []
        for one in job.page:
            if one.unknown is not None:
                self.unread(template, one, one.unknown)
                continue
            self.tries.pop((template.index, one.slot), None)
            if one.diff is None or (template.module.reads == "journal" and one.state is not None):
                self.settle(template, one, acted=one.past is not None and one.past.intent_at is not None)
            elif self._may_act(template, one, now):
                acts.append(one)
        self.consider(template, acts)

    def _may_act(self, template: Template, one: Seen, now: datetime) -> bool:
        """Not as wanted: act, or wait for what is under way? Parks the row when it is not to act now."""
        past, module = one.past, one.module
        assert one.diff is not None
        last = past.last if past is not None else ""
        told = past is not None and self.stand.fold.retried(one.identity) > past.intent_seq  # a person said: try again
        if past is not None and past.held_since is not None and last != "intent":
            self.record("unsettled", template, one, {"index": template.index, "state": one.state})
            self.flush()
            one.past = past = self.stand.fold.past(one.identity)
        outlook = None if module.reads == "journal" else module.outlook(one.state, one.diff)
        if isinstance(outlook, Waiting):
            self.wait_for_service(template, one, outlook.reason, now)
            return False
        if last == "result" and past is not None and past.result_ok:
            assert past.result_at is not None
            deadline = past.result_at + module.settles_within
            if now < deadline:
                self.park(template, one.slot, one.row, one,
                          Parked(Phase.WAITING, "service", "accepted; not visible yet",
                                 min(now + SETTLE_LOOK, deadline)))
                return False
        if isinstance(outlook, Failing):
            attempts = past.attempts if past is not None else 0
            if module.effect == "observe" or (not told and (not outlook.retry or attempts >= RESTARTS_MAX)):
                self.fail(template, one, "service", outlook.reason, outlook.remedy)
                return False
            return True
        if last == "intent":
            return self._in_doubt(template, one, now)
        if last == "handed" and past is not None:
            if told or moved_on(
                    self.stand.fold, self.journal, one.identity, past, template.module, one.diff):
                return True
            handed = self.stand.fold.handover(one.identity) or {"title": "handed to a person"}
            self.park(template, one.slot, one.row, one,
                      Parked(Phase.HANDED, "handover", str(handed["title"]), now + HANDED_LOOK), handover=handed)
            return False
        if last == "result" and past is not None and past.result_ok:
            if module.effect == "send":
                return self._in_doubt(template, one, now)
            if past.intent_seq > self.stand.fold.run_seq and not told:
                # fails once; the next run, or `retry`, acts again
                self.fail(template, one, "service", "the act was accepted but its effect never became visible",
                          "Look at the remote side, then run again.")
                return False
        if module.effect == "observe":
            self.wait_for_service(template, one, "not as wanted yet", now)
            return False
        return True

    def _in_doubt(self, template: Template, one: Seen, now: datetime) -> bool:
        """An intent without a known effect. set: act again. create: believe "absent" only after the bound.
        send: nobody can tell, so a person is asked."""
        past, module = one.past, one.module
        assert past is not None
        effect = module.effect
        since = past.intent_at or now
        if effect == "create" and one.state is None and now < since + VISIBILITY_BOUND:
            self.park(template, one.slot, one.row, one, Parked(
                Phase.WAITING, "service", "in doubt after an interruption: not there yet, still looking",
                min(now + SETTLE_LOOK * 5, since + VISIBILITY_BOUND)))
            return False
        if effect == "send":
            word = self.stand.fold.resolved(one.identity)
            if word is not None and word.seq > past.intent_seq:
                if word.body.get("redo"):
                    return True
                one.state = {"sent": True, "resolved_by": word.by}
                self.settle(template, one, acted=True)
                return False
            if now < since + module.settles_within:
                self.park(template, one.slot, one.row, one, Parked(
                    Phase.WAITING, "service", "in doubt after an interruption: looking for its mark",
                    now + SETTLE_LOOK))
                return False
            self.park(template, one.slot, one.row, one, Parked(
                Phase.ASKING, "doubt", "it may or may not have been sent, and no mark of it can be found"),
                ask={"question": "Was it sent?", "answers": "resolve --done or resolve --redo"})
            return False
        return True

    def consider(self, template: Template, page: list[Seen]) -> None:
        """Selection, consent, window, quota and guards; what passes all of them is acted on."""
        if not page:
            return
        now = self.world.clock.now()
        opening = gates.opens_at(self.program.windows[template.window], now) if template.window else None
        go: list[Seen] = []
        judged: list[Seen] = []
        for one in page:
            assert one.diff is not None
            if not self.stand.selected(template, one.row):
                self.stand.phases[template.index][one.slot] = Phase.PENDING
                continue
            if self._asks_again(template, one, now):
                continue
            if not self._consented(template, one):
                drifted = one.past is not None and one.past.last == "unsettled"
                self.park(template, one.slot, one.row, one, Parked(
                    Phase.BLOCKED, "drift" if drifted else "consent",
                    "it is no longer as it was left; repairing it needs your consent" if drifted
                    else "the consented plan does not contain this act"))
                continue
            if opening is not None:
                self.park(template, one.slot, one.row, one,
                           Parked(Phase.WAITING, "window", f"window {template.window} is closed", opening))
                continue
            if guards.names(one.module, one.diff):
                judged.append(one)
            else:
                go.append(one)
        if go:
            self._act(template, go)
        if judged:
            acts = [guards.Act(template, one.row, one.module, one.diff) for one in judged if one.diff]
            self.submit(JudgeJob(template, judged), "guards", lambda: self.guards.judge(acts, now))

    def _asks_again(self, template: Template, one: Seen, now: datetime) -> bool:
        """An approval directly before this act that has expired since is asked for again."""
        for above, slot in self.stand.approvals_before(template, one.row):
            if self.stand.phases[above.index][slot] == Phase.DONE:
                asked = self.stand.approval_identity(above, slot)
                if asked is None or gates.answer(above, asked, self.stand.fold, self.program, now) is not None:
                    continue
                if self.stand.spent(above, slot):
                    continue  # what it was given for has begun: going on needs no new word
                self.ready(above.index, slot)
            self.park(template, one.slot, one.row, one, Parked(
                Phase.BLOCKED, "expired", "its approval ended before it could be used, and is asked for again",
                progress=self.progress))
            return True
        return False

    def _consented(self, template: Template, one: Seen) -> bool:
        if template.module.effect == "observe":
            return True  # it only asks the service to go on with what was consented to
        past = one.past
        if past is not None:
            if past.settled_seq and repair_token(one.identity, past.settled_seq) in self.consents:
                return True
            if drifted(past):
                return False
            if past.last == "undone":
                return act_token(one.identity, past) in self.consents
        return one.identity in self.consents or later_token(
            template, one.row, self.nth[template.index]) in self.consents

    def on_judged(self, job: JudgeJob, result: Any, error: BaseException | None) -> None:
        if error is not None:
            raise error
        template = job.template
        now = self.world.clock.now()
        go = []
        for one, verdicts in zip(job.page, result, strict=True):
            no = next((verdict for verdict in verdicts if not verdict.passed), None)
            if no is None:
                go.append(one)
            elif no.until is not None and no.until > now:
                after = gates.outlasted(self.stand, template, one.row, no.until)
                self.park(template, one.slot, one.row, one, Parked(
                    Phase.WAITING, "guard", f"{no.guard}: {no.reason}{after}", no.until, self.progress))
            else:
                self.park(template, one.slot, one.row, one, Parked(
                    Phase.BLOCKED, "guard", f"{no.guard}: {no.reason}", now + GUARD_LOOK, self.progress))
        if template.module.family == "conversion":
            quota = guards.conversion_quota(self.facts.count_settled(template.module_name))
            # those that count already come first, and never wait for a turn
            go.sort(key=lambda one: ((template.index, one.slot) not in self.converting, not begun(one.past)))
            again = sum(1 for one in go if (template.index, one.slot) in self.converting)  # counted already
            room = len(go) if quota is None else again + max(0, quota - len(self.converting))
            for one in go[room:]:
                self.park(template, one.slot, one.row, one, Parked(
                    Phase.WAITING, "quota", "one is converted first, then twenty, then all", progress=self.progress))
            go = go[:room]
            self.converting.update((template.index, one.slot) for one in go)
        if go:
            self._act(template, go)

    def next_in_turn(self) -> list[tuple[int, int]]:
        """Of the conversions that wait for their turn, as many as may be begun: the others need no look meanwhile."""
        waiting = sorted(place for place, parked in self.parked.items()
                         if parked.what == "quota" and parked.progress < self.progress)
        found: list[tuple[int, int]] = []
        for task, places in groupby(waiting, key=lambda place: place[0]):
            quota = guards.conversion_quota(self.facts.count_settled(self.program.templates[task].module_name))
            found += islice(places, None if quota is None else max(0, quota - len(self.converting)))
        return found

    def _act(self, template: Template, page: list[Seen]) -> None:
        budget = self.program.settings.get("budget")
        most = budget.get("guarded_acts") if isinstance(budget, Mapping) else None
        if most is not None and self.guarded_acts + len(page) > int(str(most)):
            guarded = [one for one in page if one.diff and guards.names(one.module, one.diff)]
            if guarded:
                raise Refusal(ExitCode.REFUSED, Problem(
                    "the budget of guarded acts is used up",
                    found=f"budget {most}, {self.guarded_acts} done, {len(guarded)} more asked",
                    remedy="Check that this is meant, then raise `budget: {guarded_acts: …}` in the inventory."))
        # what was begun and is not finished stands first: somebody may be out of reach until it is
        page = sorted(page, key=lambda one: not begun(one.past))
        now = self.world.clock.now()
        for one in page:
            assert one.diff is not None
            one.decided = now
            self.guarded_acts += bool(guards.names(one.module, one.diff))
            self.stand.phases[template.index][one.slot] = Phase.ACTING
        self.backlog.setdefault(template.index, deque()).extend(page)

    def start_acts(self) -> bool:
        """Begin acts while connections have room, a chunk of intents for each call: what a kill leaves in doubt is
        what was under way, and a hold is heard before the next chunk. True when any was begun."""
        begun = False
        for task in list(self.backlog):
            template, waiting = self.program.templates[task], self.backlog[task]
            module = template.module
            while waiting and self.workers.room(module.connection) > 0:
                if self.journal.changed():
                    self.take_in()
                chunk = [waiting.popleft() for _ in range(min(module.apply_rows, len(waiting)))]
                chunk = [one for one in chunk if not (self._held_now(template, one) or self._outlived(template, one))]
                for one in chunk:
                    assert one.diff is not None
                    self.record("intent", template, one, {
                        "index": task, "verb": one.diff.verb,
                        "attempt": (one.past.attempts if one.past is not None else 0) + 1,
                        "changes": [[change.field, change.before, change.after] for change in one.diff.changes],
                        "before": one.diff.before})
                self.flush()  # durable before any call
                if chunk:
                    acts = [(one.module, one.diff) for one in chunk]
                    self.acting[task] += 1
                    self.submit(ActJob(template, chunk), module.connection,
                                lambda module=module, acts=acts: module.apply_many(self.site, acts))  # type: ignore[misc]
                begun = True
            if not waiting:
                del self.backlog[task]
        return begun

    def _held_now(self, template: Template, one: Seen) -> bool:
        fold = self.stand.fold
        if not (fold.words and fold.held(template.kind, one.row)):
            return False
        self.park(template, one.slot, one.row, one, Parked(Phase.HELD, "held", "on hold"))
        return True

    def _outlived(self, template: Template, one: Seen) -> bool:
        """Whether it has waited for room at its connection for longer than its decision holds – read, window, approval,
        guards – and is looked at again instead."""
        now = self.world.clock.now()
        closed = template.window and gates.opens_at(self.program.windows[template.window], now) is not None
        if not closed and one.decided is not None and now - one.decided < FRESH:
            return False
        if one.diff is not None:
            self.guarded_acts -= bool(guards.names(one.module, one.diff))  # it is counted again when it is decided
        if not open_act(one.past):
            self.converting.discard((template.index, one.slot))
        self.ready(template.index, one.slot)
        return True

    def on_acted(self, job: ActJob, answers: Any, error: BaseException | None) -> None:
        template = job.template
        self.acting[template.index] -= 1
        if error is not None:
            if not isinstance(error, Fault):
                raise error
            answers = [error] * len(job.page)
        index = template.index
        look: list[Seen] = []
        faults: list[tuple[Seen, Fault]] = []
        for one, answer in zip(job.page, answers, strict=True):
            if isinstance(answer, InDoubt):
                faults.append((one, answer))
            elif isinstance(answer, Fault):
                self.record("result", template, one, {"index": index, "ok": False, "fault": _fault(answer)})
                faults.append((one, answer))
            elif isinstance(answer, Handover):
                self.handing.setdefault((index, one.module.handover_group()), []).append((one, answer))
            elif template.module.reads == "journal":
                self.record("result", template, one, {"index": index, "ok": True})
                one.state = answer if answer is not None else {"done": True}
                self.settle(template, one, acted=True)
            else:
                self.record("result", template, one, {"index": index, "ok": True})
                look.append(one)
            if one.diff is not None and not isinstance(answer, Handover):
                self.tell("acted", template, one.row, verb=one.diff.verb, ok=not isinstance(answer, Fault))
        if faults or template.module.effect == "send":
            self.flush()
        for one, fault in faults:
            one.past = self.stand.fold.past(one.identity)
            if isinstance(fault, InDoubt):
                self.park(template, one.slot, one.row, one, Parked(
                    Phase.WAITING, "doubt", f"no answer came: {fault.text}", self.world.clock.now() + SETTLE_LOOK))
            elif isinstance(fault, Unreachable):
                tries = one.past.attempts - 1 if one.past is not None else 0
                self.try_again(template, one, str(fault), remedy=fault.remedy, tries=tries,
                               at_least=fault.retry_after or 0.0)
            else:
                self.fail(template, one, "fault", str(fault), fault.remedy)
        self.acted.setdefault(template.index, []).extend(look)

    def hand_over(self) -> bool:
        """Give to a person what no program may do: one script for all rows of a group, once all of them are there."""
        ready = [place for place in self.handing if not (self.acting[place[0]] or place[0] in self.backlog)]
        for place in ready:
            template, rows = self.program.templates[place[0]], self.handing.pop(place)
            # what is out of order comes first, in the script and in the journal
            rows.sort(key=lambda each: not each[1].urgent)
            for group in [rows] if place[1] else [[each] for each in rows]:
                whole, leader = joined([answer for _, answer in group]), group[0][0].identity.hex()
                for number, (one, _) in enumerate(group):
                    handed = told_of(whole, number, leader)
                    self.record("result", template, one, {"index": template.index, "ok": True, "handed": handed})
                    self.park(template, one.slot, one.row, one, Parked(
                        Phase.HANDED, "handover", whole.title, self.world.clock.now() + HANDED_LOOK), handover=handed)
        return bool(ready)

    def read_back(self) -> bool:
        """Read what was acted on, as many rows at once as the acts allow: one listing serves them all."""
        begun = False
        for task, rows in list(self.acted.items()):
            template = self.program.templates[task]
            size = template.module.page_rows if template.module.reads == "listing" else EACH_ROWS
            while rows and (len(rows) >= size or not (self.acting[task] or task in self.backlog)):
                page, rows[:size] = rows[:size], []
                self.flush()
                if template.module.reads == "listing":
                    self.site.forget()
                for one in page:
                    self.stand.refresh(one)
                self.submit(ReadJob(template, page), template.module.connection,
                            lambda template=template, page=page: read(self.site, template, page))  # type: ignore[misc]
                begun = True
            if not rows:
                del self.acted[task]
        return begun


def begun(past: Past | None) -> bool:
    """Whether an act has begun and has not settled."""
    return past is not None and past.last in ("intent", "result", "handed")


def _fault(fault: Fault) -> dict[str, Any]:
    return {"class": type(fault).__name__, "code": fault.code, "text": fault.text, "request_id": fault.request_id,
            "remedy": fault.remedy}
