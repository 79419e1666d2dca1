"""The promise every task module keeps: fields, key, problems, want, read, apply – and nothing else.

A module is a frozen dataclass whose fields are its parameters, each `Annotated[type, "What it means."]`. Field
types: str, int, bool, float, `timedelta`, `datetime`, `tuple[str, ...]`, `tuple[Mapping[str, str], ...]`,
`Mapping[str, str]`, `Literal[...]`, `Secret`, and any of these `| None`. The JSON Schema, the reference page and the
editor help are generated from it.

No dry-run flag, no retry, no sleep, no print, no catch-all in a module: nobody can then forget one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal, TypeAlias

from engine.connections import Site
from engine.contract import (
    Change,
    Diff,
    Fault,
    Handover,
    Outlook,
    Rejected,
    State,
    Unknown,
    Want,
    difference,
)

#: set: may be repeated · create: a natural key, absence believed only after the visibility bound ·
#: send: acts once, found again by its mark · observe: owns nothing, never writes
Effect: TypeAlias = Literal["set", "create", "send", "observe"]
Undo: TypeAlias = Literal["restore", "compensate", "none"]
#: listing: read from shared pages, cheap for any number of rows · each: one or more calls a row, read only when the
#: row has come so far · journal: nothing remote to read, the journal's record is the state
Reads: TypeAlias = Literal["listing", "each", "journal"]

#: What read_many says of one key.
Reading: TypeAlias = "State | Unknown | None"
#: What apply_many says of one act: None (accepted), a state to be recorded, a handover, or the fault.
Acted: TypeAlias = "State | Handover | Fault | None"


@dataclass(frozen=True, kw_only=True)
class Module:
    """Base of all task modules. See docs/modules-howto.md for a walk through one."""

    #: first segment of the key; only modules of one family can own the same thing
    family: ClassVar[str]
    #: fields of the read state whose texts and lists may be shown and recorded; any other's are hidden (run/showing.py)
    public: ClassVar[frozenset[str]] = frozenset()
    #: the connection that `read` and `apply` use, as named in the inventory; "" for none
    connection: ClassVar[str] = ""
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    reads: ClassVar[Reads] = "listing"
    #: after an accepted act, how long the world may take to show it
    settles_within: ClassVar[timedelta] = timedelta(minutes=15)
    #: while the service is at work, how often to look
    look_again: ClassVar[timedelta] = timedelta(minutes=15)
    #: once seen true and built upon by a later task of the row, it is not asked again (a proof, a sync)
    lasting: ClassVar[bool] = False
    #: its acts may be half done (by a person, by a server that takes them in parts): `remaining` and `Diff.origin` tell
    #: it how the thing was before our first change
    goes_on: ClassVar[bool] = False
    #: rights the account needs, as the remote side names them: shown by plan and doctor
    rights: ClassVar[tuple[str, ...]] = ()
    #: the same by a person: the clicks in the admin centre, and the cmdlet; shown by `mailmove doc` (S-36)
    by_person: ClassVar[tuple[str, ...]] = ()
    #: output fields that only the service decides: unknown before the thing exists
    decided: ClassVar[frozenset[str]] = frozenset()
    #: parameters that a letter's file fills, in the order subject, text, template (engine.language.letters)
    letter_fields: ClassVar[tuple[str, ...]] = ()
    #: rows handed to one read_many / apply_many call
    page_rows: ClassVar[int] = 1000
    apply_rows: ClassVar[int] = 20

    def key(self) -> str:
        """Name of the real thing, e.g. `dns/contoso.com/@/MX`. Equal or not; begins with `family/`."""
        raise NotImplementedError

    def problems(self) -> Iterator[str]:
        """What is wrong with the parameters, offline; each "field: what, and the rule's source"."""
        return iter(())

    def want(self) -> Want | None:
        """How it should be, in the shape `read` answers; None: it should not exist."""
        raise NotImplementedError

    def read(self, site: Site) -> State | None:
        """How it is now; None: looked, and it does not exist. Raises Fault when it could not be told.

        A module says this or `read_many`; one that answers for many at once is asked here for itself alone.
        """
        if type(self).read_many.__func__ is Module.read_many.__func__:  # type: ignore[attr-defined]
            raise NotImplementedError(f"{type(self).__name__} says neither read nor read_many")
        found = self.read_many(site, [self]).get(self.key(), Unknown("the remote side did not answer for it"))
        if isinstance(found, Unknown):
            raise Rejected(self.connection, found.reason)
        return found

    def apply(self, site: Site, diff: Diff) -> State | Handover | None:
        """Make it so. May run twice. Returns a Handover where only a person can act; a State where the journal is
        the only record of it (reads = "journal"). Raises Fault."""
        raise NotImplementedError(f"{type(self).__name__} only observes")

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        """Not as wanted, but is it on its way (Waiting), or has it failed over there (Failing)? None: act."""
        return None

    def difference(self, state: State | None) -> Diff | None:
        """How `state` differs from `want()`; None when it does not."""
        return difference(self.want(), state)

    def remaining(self, origin: State, state: State | None) -> Diff | None:
        """As `difference`, once an act has begun: `origin` is how it was before our first change (`goes_on`)."""
        return self.difference(state)

    def by_hand(self, site: Site) -> bool:
        """Whether `apply` would hand over to a person, as the connections are chosen: the plan says so beforehand."""
        return False

    def handover_group(self) -> str:
        """Rows whose handovers share this text are put into one script for one person."""
        return ""

    def remark(self, state: State | None) -> str:
        """What the reader of a plan should know about what was read, beside the change; "": nothing."""
        return ""

    def sample(self) -> str:
        """What one of these acts would look like to the person it reaches: the plan shows one. "": nothing to show."""
        return ""

    # The way back: `mailmove undo` asks these of an act that the journal says was ours. `before` is the whole state
    # before our first change, `left` the one that was read when the act had settled, `state` what is read now.

    def restored(self, before: State | None, state: State | None) -> Want | None:
        """How it shall be once this act is taken back, in the shape of `read`; None: it shall not exist.

        Names only what the act changed: here, the fields of `before` that were not as wanted.
        """
        if before is None or self.want() is None:
            return before
        diff = self.difference(before)
        return {change.field: before.get(change.field) for change in diff.changes} if diff else {}

    def restore_diff(self, before: State | None, state: State | None) -> Diff | None:
        """How `state` differs from `restored`; None: it is as it was before us."""
        return difference(self.restored(before, state), state)

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        """Take the act back. May run twice, after a crash; asks for a state, not for a step. Raises Fault."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is taken back")

    def changed_since(self, before: State | None, left: State | None, state: State | None) -> tuple[Change, ...]:
        """What of ours is neither as we left it nor as it was before: somebody's later work, which would be lost."""
        if left is None or state is None:
            return () if left is state is None else (Change("exists", left is not None, state is not None),)
        back = self.restored(before, state)
        names = (self.want() or left) if back is None else back
        return tuple(Change(name, left.get(name), state.get(name)) for name in names
                     if state.get(name) != left.get(name) and (back is None or state.get(name) != back[name]))

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        """Why this act cannot be taken back (any more); "" when it can. May look at the remote side; raises Fault."""
        return "it cannot be taken back" if self.undo == "none" else ""

    def loses(self, before: State | None, state: State | None) -> Sequence[str]:
        """What does not come back when the act is taken back, one clause each, for the preview."""
        return ()

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        """Answers by key, for all rows that are ready. A key missing from the answer is unknown, not absent."""
        found: dict[str, Reading] = {}
        for module in modules:
            try:
                found[module.key()] = module.read(site)
            except Fault as fault:
                found[module.key()] = Unknown.of(fault)
        return found

    @classmethod
    def apply_many(cls, site: Site, acts: Sequence[tuple[Module, Diff]]) -> Sequence[Acted]:
        """One answer per act, in order; a Fault is an answer too. Overridden where the service takes batches."""
        answers: list[Acted] = []
        for module, diff in acts:
            try:
                answers.append(module.apply(site, diff))
            except Fault as fault:
                answers.append(fault)
        return answers
