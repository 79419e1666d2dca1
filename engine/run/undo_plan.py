"""What an undo would do: the chains of rows read against the world, newest act first. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.connections import Site
from engine.contract import (
    BOUNDS,
    Change,
    Diff,
    ExitCode,
    Fault,
    Problem,
    Program,
    Refusal,
    State,
    Template,
    Unknown,
)
from engine.run import guards
from engine.run.chain import Chain, Chains, Step, named, rows_named, seen_done, undo_token
from engine.run.facts import JournalFacts
from engine.run.gates import APPROVAL_HOURS
from engine.run.graph import Selection
from engine.run.journal import Journal
from engine.run.plan import describe
from engine.run.preflight import check_identity
from engine.run.showing import shown_changes
from engine.run.stand import Stand, label
from engine.world import World


@dataclass(frozen=True, slots=True)
class Line:
    """One step of one row, in the preview. word: restore · already · stays · hands · stops · changed · unknown.

    loses   what does not come back      guarded   the guards that stand before it, with their verdict now
                                         question  what a person has to approve before it goes on
    """

    row_kind: str
    row: str
    task: str
    word: str
    changes: tuple[Change, ...] = ()
    text: str = ""
    loses: tuple[str, ...] = ()
    guarded: tuple[str, ...] = ()
    token: bytes = b""
    question: str = ""


@dataclass
class UndoPlan:
    """What an undo would do, newest act first, row by row. Reading it changes nothing."""

    name: str
    playbook: str
    made_at: datetime
    lines: list[Line] = field(default_factory=list)

    @property
    def tokens(self) -> set[bytes]:
        return {line.token for line in self.lines if line.token}

    def count(self, *words: str) -> int:
        return sum(line.word in words for line in self.lines)


class _UndoFacts(JournalFacts):
    """For guards of the way back: the person who gave the undo its name and reason has decided."""

    def approved(self, template: Template, row: str) -> bool:
        return True


class UndoPreview:
    """The chains of some rows, looked at; `rows` empty with a `task`: every row of it."""

    def __init__(self, program: Program, site: Site, journal: Journal, world: World, *, rows: Sequence[str],
                 task: str | None, over_changes: bool = False) -> None:
        self.program, self.site, self.journal, self.world = program, site, journal, world
        self.rows, self.task, self.over_changes = rows, task, over_changes
        self.stand = Stand(program, journal, site, Selection())
        self.guards = guards.Guards(program, site, _UndoFacts(self.stand))
        self.chains = [chain for chain in self._found(rows, task) if chain.steps or chain.lost]

    def _found(self, rows: Sequence[str], task: str | None) -> Iterator[Chain]:
        kinds = None
        if task is not None:
            meant = [template for template in self.program.templates if named(template, task)]
            if not meant:
                raise _usage("unknown task", f"No task is named «{task}».", "Name it as the playbook does.")
            kinds = {template.kind for template in meant}
            rows = rows or [row for kind in sorted(kinds) for row in self.program.rows.keys(kind)]
        elif not rows:
            raise _usage("nothing is named to be taken back", "An undo is of named rows, or of every row of a task.",
                         "Name rows, or a task with --task.")
        found = list(rows_named(self.stand, rows))
        unknown = sorted(set(rows) - {row for _, row in found})
        if unknown:
            raise _usage("unknown row", f"No row is named {unknown[0]}.", "Name rows as the inventory does.",
                         "mailmove inventory list")
        chains = Chains(self.stand)
        for kind, row in found:
            if kinds is None or kind in kinds:
                yield chains.of(kind, row, task)

    # ------------------------------------------------------------------------------------------- preview

    def preview(self) -> UndoPlan:
        """What would be taken back, from a fresh reading. Writes nothing anywhere."""
        plan = UndoPlan(self.program.name, self.program.playbook, self.world.clock.now())
        self.site.forget()
        read = self.read([step for chain in self.chains for step in chain.steps if not step.stays])
        for chain in self.chains:
            after: dict[str, State | None] = {}
            plan.lines += [lost(chain, each.task, each.key) for each in chain.lost]
            if chain.lost:
                continue
            for step in chain.steps:
                state = after.get(step.act.key, read.get(id(step)))
                line = self._foreseen(chain, step, state)
                plan.lines.append(line)
                if line.word in ("stops", "unknown"):
                    break
                if not step.stays and not isinstance(state, Unknown):
                    after[step.act.key] = _as_restored(step, state)
        return plan

    def _foreseen(self, chain: Chain, step: Step, state: State | Unknown | None) -> Line:
        if step.stays:
            return self.line(chain, step, "stays", "was done once and stays so")
        if isinstance(state, Unknown):
            return self.line(chain, step, "unknown", f"could not be read: {state.reason}")
        self.look(step, state)
        if step.diff is None:
            return self.line(chain, step, "already", "is as it was before")
        try:
            final = step.final(self.site)
        except Fault as fault:
            return self.line(chain, step, "unknown", f"could not be read: {fault}")
        if final:
            return self.line(chain, step, "stops", final)
        guarded = []
        for verdict in self.judged(step):
            guarded.append(f"{verdict.guard}: {'passes' if verdict.passed else verdict.reason}")
        word = "changed" if step.changed else "hands" if step.module.by_hand(self.site) else "restore"
        return self.line(chain, step, word, changed_text(step), changes=(
            shown_changes(step.template.module, step.diff.changes) or (
                (Change("exists", True, False),) if step.diff.verb == "delete" else ())),
            loses=tuple(step.module.loses(step.before, state)), guarded=tuple(guarded),
            token=b"" if step.changed and not self.over_changes else self.token(step))

    def look(self, step: Step, state: State | None) -> None:
        """Take in what was read. Once the undo of a step has begun, what moves is our own doing or our handover's."""
        step.look(state)
        past = self.stand.fold.past(step.identity)
        if past is not None and past.last in ("intent", "result", "handed"):
            step.changed = ()

    def line(self, chain: Chain, step: Step, word: str, text: str = "", **more: Any) -> Line:
        return Line(chain.kind, chain.row, label(step.template), word, text=text, **more)

    def token(self, step: Step) -> bytes:
        """What was changed since is consented to as it was seen: changed again, it is asked again."""
        return undo_token(step.identity, "".join(map(repr, step.changed)))

    def read(self, steps: Sequence[Step]) -> dict[int, State | Unknown | None]:
        """Each step's thing as it is now, one listing for all that a module reads together."""
        by_module: dict[type[Any], list[Step]] = {}
        for step in steps:
            by_module.setdefault(type(step.module), []).append(step)
        found: dict[int, State | Unknown | None] = {}
        for kind, asked in by_module.items():
            try:
                answers = kind.read_many(self.site, [step.module for step in asked])
            except Fault as fault:
                answers = {step.act.key: Unknown.of(fault) for step in asked}
            missing = Unknown("the remote side did not answer for it")
            found.update((id(step), answers.get(step.act.key, missing)) for step in asked)
        return found

    def judged(self, step: Step) -> list[guards.Verdict]:
        assert step.diff is not None
        now = self.world.clock.now()
        word = self.stand.fold.approval(step.identity)
        act = guards.Act(step.template, step.row, step.module, step.diff, back=True, since=seen_done(step.past),
                         approved=word is not None and now <= (word.until or word.at + APPROVAL_HOURS))
        return self.guards.judge([act], now)[0]


def _as_restored(step: Step, state: State | None) -> State | None:
    """How the thing will read when the step is taken back, for the steps before it."""
    back = step.module.restored(step.before, state)
    if back is None or state is None:
        return None if back is None else step.before
    return {**state, **{name: value for name, value in back.items() if not isinstance(value, BOUNDS)}}


def changed_text(step: Step) -> str:
    """Which field somebody has changed since, from what to what."""
    told = shown_changes(step.template.module, step.changed)
    return f"somebody has changed it since: {describe(Diff('change', told, {}))}" if told else ""


def lost(chain: Chain, task: str, key: str) -> Line:
    return Line(chain.kind, chain.row, task, "stops", text=(
        f"{key} was changed by a task that the playbook no longer says so: put it back as it was then"))


def _usage(summary: str, found: str, remedy: str, command: str = "mailmove undo --help") -> Refusal:
    return Refusal(ExitCode.USAGE, Problem(summary, found=found, remedy=remedy, next_command=command))


def preview(program: Program, site: Site, journal: Journal, world: World, *, rows: Sequence[str], task: str | None,
            over_changes: bool = False) -> UndoPlan:
    """What `undo` would take back, newest act first. Writes nothing anywhere.

    Raises Refusal for rows or a task that are not there, or another tenant; Fault when nothing can be read.
    """
    check_identity(program, site, journal, world.clock.now())
    return UndoPreview(program, site, journal, world, rows=rows, task=task, over_changes=over_changes).preview()
