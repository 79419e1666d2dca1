"""The preview: reads everything, changes nothing, says per row what would happen, and what is known only later.

Rows are grouped as they are looked at, so that 100,000 mailboxes cost a few lines and a set of 16-byte tokens: the
consent a person gives is exactly that set (docs/design.md, Consent).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b

from engine.connections import Site
from engine.contract import (
    AtLeast,
    AtMost,
    CalendarEntry,
    Diff,
    Includes,
    Phase,
    Plain,
    Plan,
    PlanGroup,
    Program,
    SameAs,
    State,
    Template,
    Unknown,
    Waiting,
)
from engine.modules.base import Module
from engine.run import gates, guards
from engine.run.fold import Past
from engine.run.graph import Selection
from engine.run.journal import Journal
from engine.run.showing import shown_changes
from engine.run.stand import Seen, Stand, Word, compare, label, look_at
from engine.world import World

#: Distinct texts of one task's changes that are shown one by one; beyond it they are counted together.
TEXTS_MAX = 3
SAMPLE_ROWS = 3

#: A page that is ready to be journalled as satisfied: (template, rows).
Note = Callable[[Template, Sequence[Seen]], None]


# A token is 16 bytes, the identity of a predicted act; the two kinds below carry a letter more.


def later_token(template: Template, row: str, nth: int) -> bytes:
    """Consent to an act whose meaning is known only later: this row, this module, the n-th of it in the playbook."""
    return blake2b(f"{template.kind}\0{row}\0{template.module_name}\0{nth}".encode(), digest_size=16).digest() + b"L"


def repair_token(identity: bytes, settled_seq: int) -> bytes:
    """Consent to bring back what had settled and has drifted since: once, for this drift."""
    return blake2b(identity + str(settled_seq).encode(), digest_size=16).digest() + b"R"


def act_token(identity: bytes, past: Past | None) -> bytes:
    """Consent to an act as predicted; to doing again what was taken back, once, for this time."""
    undone = past is not None and past.last == "undone"
    return repair_token(identity, past.state_seq) if undone and past is not None else identity


def drifted(past: Past) -> bool:
    """Had settled, and nothing of ours has been begun since: a difference found now is somebody else's doing."""
    return bool(past.settled_seq) and past.last in ("settled", "unsettled")


def nth_of_module(program: Program) -> list[int]:
    """Per task: how many earlier tasks of the same kind use the same module."""
    seen: dict[tuple[str, str], int] = {}
    found = []
    for template in program.templates:
        key = (template.kind, template.module_name)
        found.append(seen.get(key, 0))
        seen[key] = found[-1] + 1
    return found


#: Tokens of acts that are predicted with their meaning are identities and nothing else.
MEANING_BYTES = 16


@dataclass
class _Group:
    count: int = 0
    text: str = ""
    rows: list[str] = field(default_factory=list)
    guarded: dict[str, str] = field(default_factory=dict)
    undo: str = "restore"
    after: str = ""
    sample: str = ""


class Preview:
    """One pass over all tasks in graph order, page by page. `note` receives the rows that are already as wanted."""

    def __init__(self, stand: Stand, world: World, *, note: Note | None = None, facts: guards.Facts | None = None,
                 rows: bool = False, agreed: Set[bytes] = frozenset()) -> None:
        """agreed: the tokens that people have consented to before."""
        self.stand = stand
        self._agreed = agreed
        self.world = world
        self.note = note
        self.now = world.clock.now()
        self.judge = guards.Guards(stand.program, stand.site, facts) if facts else None
        self.nth = nth_of_module(stand.program)
        self._groups: dict[tuple[int, str, str], _Group] = {}
        self._texts: dict[tuple[int, str], int] = {}
        self._after: dict[tuple[str, str, str], State | None] = {}
        self._calendar: dict[tuple[str, datetime | None, str], int] = {}
        self.plan = Plan(
            name=stand.program.name, playbook=stand.program.playbook, made_at=self.now, digest="",
            tasks=tuple({"name": each.name, "play": each.play, "kind": each.kind, "module": each.module_name,
                         "mark": str(each.mark), "rows": each.slots()} for each in stand.program.templates),
            order=tuple(stand.order))
        self._with_rows = rows

    def make(self) -> Plan:
        """Look at every row of every task and say what would happen."""
        for task in self.stand.order:
            template = self.stand.program.templates[task]
            size = template.module.page_rows if template.module.reads != "each" else 200
            for start in range(0, template.slots(), size):
                self._page(template, range(start, min(start + size, template.slots())))
        return self._finish()

    # ------------------------------------------------------------------------------------- one page

    def _page(self, template: Template, slots: Sequence[int]) -> None:
        stand, task = self.stand, template.index
        seen, words = stand.prepare(template, slots, self.now, wait=False)
        done: dict[int, Phase] = {}
        for word in words:
            self._word(template, word, done)
        if template.module.reads == "journal":
            taken_up = [one for one in seen if self._recorded(template, one, done)]
            if self.note is not None and taken_up:
                self.note(template, [one for one in taken_up if stand.needs.unmet[task][one.slot] == 0])
        else:
            unmet = stand.needs.unmet[task]
            look = seen if template.module.reads == "listing" else [one for one in seen if unmet[one.slot] == 0]
            if look:
                compare(look, look_at(stand.site, template, look))
            satisfied = []
            for one in seen:
                if template.module.reads == "each" and unmet[one.slot]:
                    self._later(template, one.row, one.slot, self._last_need(template), one)
                elif self._looked(template, one):
                    done[one.slot] = Phase.DONE
                    if unmet[one.slot] == 0:
                        satisfied.append(one)
            if self.note is not None and satisfied:
                self.note(template, satisfied)
        # what its turn has not come for has not begun, however it looks
        reachable = [slot for slot in done if stand.needs.unmet[task][slot] == 0]
        for slot in reachable:
            stand.phases[task][slot] = done[slot]
        for _ in stand.needs.met(task, reachable):
            pass  # later pages of this very pass look at what became ready

    def _word(self, template: Template, word: Word, done: dict[int, Phase]) -> None:
        row = template.row(word.slot)
        if word.word == "unknown":
            self._later(template, row, word.slot, word.reason)
            return
        if word.word == "held":
            self._add(template, "held", "on hold", row)
            return
        if word.seen is not None:
            self.stand.keep_record(template.index, word.seen)
        done[word.slot] = {"skipped": Phase.SKIPPED, "waived": Phase.WAIVED, "superseded": Phase.SUPERSEDED}.get(
            word.word, Phase.DONE)
        text = {"record": "done, by record", "superseded": "done, superseded by a later task"}.get(word.word, word.word)
        self._add(template, "same" if word.word == "record" else word.word, text, row)

    def _recorded(self, template: Template, one: Seen, done: dict[int, Phase]) -> bool:
        """A task with nothing remote to read: approvals, checklists, letters, tests. True: a word just taken up."""
        if template.module.effect == "send" and template.module_name in ("approval", "checklist"):
            self._dates(template, one.slot)
            question = gates.ask(template, one.module, self.stand.program, self.now)
            state = gates.answer(template, one.identity, self.stand.fold, self.stand.program, self.now)
            if state is not None or (one.past is not None and one.past.held_since is not None):
                one.state = state
                self.stand.keep(template.index, one, state or self.stand.recorded(one))
                done[one.slot] = Phase.DONE
                self._add(template, "same", "said", one.row)
                return state is not None
            group = str(question.body.get("group") or "")
            text = f"{question.what}: {question.reason}"
            self._add(template, "asks", f"{text} (one word for {group})" if group else text, one.row)
            return False
        if one.past is not None and one.past.held_since is not None:
            self.stand.keep_record(template.index, one)
            done[one.slot] = Phase.DONE
            self._add(template, "same", "done, by record", one.row)
            return False
        one.diff = Diff("send", (), None)
        self.stand.keep(template.index, one, None)
        text = _sent(one.module)
        self._act(template, one, "send", text)
        sent = self._groups.get((template.index, "send", text))
        if sent is not None and not sent.sample:
            sent.sample = one.module.sample()
        return False

    def _looked(self, template: Template, one: Seen) -> bool:
        """Put a row that was read into the plan; True when it is as wanted and nothing earlier will change that."""
        task, row = template.index, one.row
        if one.unknown is not None:
            self._add(template, "unknown", f"could not be read: {one.unknown.reason}", row)
            self.stand.keep(task, one, None)
            return False
        thing = (template.kind, row, one.key)
        predicted = thing in self._after
        if predicted:
            one.diff = one.module.difference(self._after[thing])
        if one.diff is None and not predicted:
            self.stand.keep(task, one, one.state)
            self.stand.note_satisfied(task, one.slot, self.now)
            self._add(template, "same", _remarked("already so", one), row)
            return True
        self._predict(template, one, thing)
        if one.diff is None:
            self._add(template, "same", "will be so after the task before it", row)
            return False
        if template.module.effect != "observe" and one.past is not None and drifted(one.past):
            self._drifted(template, one)
            return False
        outlook = one.module.outlook(one.state, one.diff)
        if template.module.effect == "observe" or isinstance(outlook, Waiting):
            if template.module.effect != "observe" and self.stand.selected(template, row):
                self._token(template, one.identity)  # it may have to help the service along
            self._dates(template, one.slot)
            self._add(template, "waits", outlook.reason if outlook else "waits until it is so", row,
                      after="" if outlook else self._last_need(template))
            return False
        word = "hands" if one.module.by_hand(self.stand.site) else one.diff.verb
        self._act(template, one, word, None)
        return False

    def _token(self, template: Template, token: bytes) -> None:
        if token not in self.plan.tokens and token not in self._agreed and len(token) == MEANING_BYTES:
            asked = self.plan.asked
            asked[template.module_name] = asked.get(template.module_name, 0) + 1
        self.plan.tokens.add(token)

    def _drifted(self, template: Template, one: Seen) -> None:
        assert one.past is not None and one.diff is not None
        if not self.stand.selected(template, one.row):
            self._add(template, "skipped", "not selected", one.row)
            return
        self._token(template, repair_token(one.identity, one.past.settled_seq))
        self._add(template, "change" if one.state is not None else "create",
                  "no longer as it was left: " + describe(_shown(template, one.diff)), one.row,
                  undo=template.module.undo)

    def _act(self, template: Template, one: Seen, word: str, text: str | None) -> None:
        assert one.diff is not None
        if not self.stand.selected(template, one.row):
            self._add(template, "skipped", "not selected", one.row)
            return
        self._token(template, act_token(one.identity, one.past))
        stand = self.stand
        guarded = dict.fromkeys(guards.names(one.module, one.diff), "judged when its turn comes")
        if guarded and self.judge is not None and stand.needs.unmet[template.index][one.slot] == 0:
            act = guards.Act(template, one.row, one.module, one.diff)
            for verdict in self.judge.judge([act], self.now)[0]:
                guarded[verdict.guard] = "passes" if verdict.passed else verdict.reason + gates.outlasted(
                    stand, template, one.row, verdict.until)
        self._dates(template, one.slot)
        if text is None:
            text = _remarked(self._text(template, word, one.diff), one)
        self._add(template, word, text, one.row, guarded=guarded, undo=template.module.undo)

    def _dates(self, template: Template, slot: int) -> None:
        """The waits and the window of a row, for the calendar."""
        due = template.not_before(slot, self.stand)
        if isinstance(due, datetime) and due > self.now:
            after = gates.outlasted(self.stand, template, template.row(slot), due)
            self._mark(f"«{template.name}» may begin{after}", due, "")
        elif isinstance(due, Unknown):
            self._mark(f"«{template.name}» waits", None, due.reason)
        if template.window:
            opening = gates.opens_at(self.stand.program.windows[template.window], self.now)
            self._mark(f"window {template.window} for «{template.name}»", opening or self.now, "")

    def _predict(self, template: Template, one: Seen, thing: tuple[str, str, str]) -> None:
        """What this thing will look like after the task: the read state under the plain wants."""
        if template.module.effect == "observe" and one.state is None:
            self.stand.keep(template.index, one, None)
            return
        if not (template.register or template.module.family in self.stand.shared_families):
            return  # nobody reads it, and nobody else owns the thing
        want = one.module.want()
        base = self._after.get(thing, one.state)
        after: dict[str, Plain] | None = None
        if want is not None:
            after = dict(base or {})
            for name, value in want.items():
                if isinstance(value, SameAs):
                    after[name] = after.get(value.field)
                elif isinstance(value, AtLeast | AtMost):
                    after[name] = value.value
                elif isinstance(value, Includes):
                    found = after.get(name)
                    after[name] = (*(found if isinstance(found, tuple) else ()), *value.values)
                else:
                    after[name] = value
        self._after[thing] = after
        # what the service alone decides stays unknown until it has decided
        shown = after if after is None or one.state is not None else {
            name: value for name, value in after.items() if name not in template.module.decided}
        self.stand.keep(template.index, one, shown)

    # ------------------------------------------------------------------------------------- words

    def _later(self, template: Template, row: str, slot: int, after: str, one: Seen | None = None) -> None:
        if template.module.effect != "observe" and self.stand.selected(template, row):
            if one is not None:
                self._token(template, act_token(one.identity, one.past))
            else:
                self._token(template, later_token(template, row, self.nth[template.index]))
        self._dates(template, slot)
        guarded = {name: "judged when its turn comes" for name in guards.names_later(template.module.family)}
        self._add(template, "later", after, row, guarded=guarded, undo=template.module.undo)

    def _last_need(self, template: Template) -> str:
        """The nearest task it waits for, in words."""
        if not template.edges:
            return "not reached yet"
        nearest = max((edge.upstream for edge in template.edges), key=self.stand.position.__getitem__)
        return f"known after «{self.stand.program.templates[nearest].name}»"

    def _text(self, template: Template, word: str, diff: Diff) -> str:
        """The change in words; after a few different ones of a task, only which fields change."""
        key = (template.index, word)
        if self._texts.get(key, 0) >= TEXTS_MAX:
            return _fields(diff)
        text = describe(_shown(template, diff))
        if (template.index, word, text) not in self._groups:
            self._texts[key] = self._texts.get(key, 0) + 1
        return text

    def _add(self, template: Template, word: str, text: str, row: str, *, guarded: Mapping[str, str] | None = None,
             undo: str = "restore", after: str = "") -> None:
        group = self._groups.get((template.index, word, text))
        if group is None:
            group = self._groups[template.index, word, text] = _Group(text=text, undo=undo, after=after)
        group.count += 1
        if len(group.rows) < SAMPLE_ROWS:
            group.rows.append(row)
        if guarded:
            group.guarded.update(guarded)
        if self._with_rows:
            self.plan.rows.append({"task": template.index, "row": row, "word": word, "text": text})

    def _mark(self, text: str, at: datetime | None, after: str) -> None:
        self._calendar[text, at, after] = self._calendar.get((text, at, after), 0) + 1

    def _finish(self) -> Plan:
        plan = self.plan
        for (task, word, _), group in self._collapsed():
            plan.groups.append(PlanGroup(
                task=task, word=word, count=group.count, text=group.text, rows=tuple(group.rows),
                guarded=tuple(f"{name}: {verdict}" for name, verdict in sorted(group.guarded.items())),
                undo=group.undo, after=group.after, sample=group.sample))
            plan.counts[word] = plan.counts.get(word, 0) + group.count
        plan.calendar = [CalendarEntry(text, at, after, rows) for (text, at, after), rows in self._calendar.items()]
        plan.calendar.sort(key=lambda entry: (entry.at is None, entry.at or plan.made_at))
        digest = blake2b(digest_size=16)
        for token in sorted(plan.tokens):
            digest.update(token)
        plan.digest = digest.hexdigest()
        plan.problems.extend(self.stand.program.warnings)
        return plan

    def _collapsed(self) -> Iterator[tuple[tuple[int, str, str], _Group]]:
        """Groups in graph order; where a task has too many different texts, all of them as one."""
        per: dict[tuple[int, str], list[_Group]] = {}
        for (task, word, _), group in self._groups.items():
            per.setdefault((task, word), []).append(group)
        for (task, word), groups in sorted(per.items(), key=lambda each: self.stand.position[each[0][0]]):
            if len(groups) <= TEXTS_MAX:
                for group in groups:
                    yield (task, word, group.text), group
                continue
            first = groups[0]
            whole = _Group(sum(group.count for group in groups), first.text + "  (each its own)", first.rows,
                           dict(first.guarded), first.undo, first.after, first.sample)
            yield (task, word, whole.text), whole


def _shown(template: Template, diff: Diff) -> Diff:
    return replace(diff, changes=shown_changes(template.module, diff.changes))


def describe(diff: Diff) -> str:
    """A change in one line: field: before → after."""
    if diff.verb == "delete":
        return "will be removed"
    if diff.verb == "send":
        return "will be sent"
    parts = [f"{change.field}: {_show(change.before)} → {_show(change.after)}" if diff.verb == "change"
             else f"{change.field}: {_show(change.after)}" for change in diff.changes]
    return ", ".join(parts)


def _fields(diff: Diff) -> str:
    return ", ".join(change.field for change in diff.changes) + ": each its own"


def _remarked(text: str, one: Seen) -> str:
    remark = one.module.remark(one.state)
    return f"{text}; {remark}" if remark else text


def _sent(module: Module) -> str:
    return getattr(module, "subject", None) or "will be done once"


def _show(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def make_plan(program: Program, site: Site, journal: Journal, world: World, *, selection: Selection | None = None,
              rows: bool = False) -> Plan:
    """Preview a program against the live systems. Writes nothing anywhere.

    `rows` keeps one entry per row in the plan (JSON output, saved plans). Raises Invalid for a circle in the
    graph or a `--limit` that names no row; Refusal when tenant, source or method are not the pinned ones.
    """
    from engine.run.facts import JournalFacts
    from engine.run.preflight import Preflight

    findings = Preflight(program, site, journal, world).look()
    stand = Stand(program, journal, site, selection or Selection())
    plan = Preview(stand, world, facts=JournalFacts(stand), rows=rows).make()
    plan.findings = findings
    return plan


__all__ = ["Preview", "describe", "label", "later_token", "make_plan", "repair_token"]
