"""The nouns all rooms share. Imports the standard library only, and is imported by everyone.

Data flows one way: the language makes a `Program`, the run turns it into a `Plan` and `Event`s, the report
shows them. A module sees a `State` and says how it should be; a remote fault is one of the `Fault`s below.

Exceptions, drawn as a tree::

    Exception
    ├── Invalid            what a person wrote is wrong: carries every Problem found (exit 3)
    ├── Refusal            mailmove will not do it: names its exit code and the next command
    └── Fault              a remote system could not be read or written
        ├── Unreachable    no answer, or "try later": asking again may help
        ├── Denied         the account may not do this: a right is missing
        ├── Rejected       the answer was a considered no: asking again will not help
        └── InDoubt        the request was sent and its answer never came: look before anything else
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, Literal, Protocol, TypeAlias

# ------------------------------------------------------------------------------------------------ values

#: What a state, a parameter or a register may hold: plain values only, nested at most in tuples and mappings.
Plain: TypeAlias = "bool | int | float | str | datetime | tuple[Plain, ...] | Mapping[str, Plain] | None"

#: What a read found, already normalised (sorted, lower-cased, dots in place). `None` in its stead means
#: "looked, and it does not exist"; a look that failed is `Unknown`, never `None`.
State: TypeAlias = Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that cannot be told now. Unknown forbids writing, and never makes a `when` false.

    `needs` names what would make it known: registers ("proof.held_since") or nothing when a read failed.
    `never`: nothing will, for its task was waived or skipped, or told all it had; the filter `default` answers that.
    Of a read that failed: what a person may do about it, and after how many seconds it may be asked again.
    """

    reason: str
    needs: tuple[str, ...] = ()
    never: bool = False
    remedy: str = ""
    retry_after: float = 0.0

    @classmethod
    def of(cls, fault: Fault) -> Unknown:
        """What could not be read, for this fault."""
        return cls(str(fault), remedy=fault.remedy, retry_after=fault.retry_after or 0.0)

    def __bool__(self) -> bool:
        raise TypeError("an unknown value is neither true nor false")


# --------------------------------------------------------------------------------------- what is wanted


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A rung of a ladder: `AtLeast("verified", ("absent", "present", "verified"))` is met by any rung from there up."""

    value: str
    ladder: tuple[str, ...]

    def met_by(self, found: Plain, state: State) -> bool:
        return found in self.ladder and self.ladder.index(str(found)) >= self.ladder.index(self.value)

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class AtMost:
    """A number not to be exceeded."""

    value: int

    def met_by(self, found: Plain, state: State) -> bool:
        return isinstance(found, int) and found <= self.value

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Includes:
    """Values that must be there; others beside them are left alone."""

    values: tuple[str, ...]

    def met_by(self, found: Plain, state: State) -> bool:
        return isinstance(found, tuple) and set(self.values) <= set(found)

    def __str__(self) -> str:
        return "+ " + ", ".join(self.values)


@dataclass(frozen=True, slots=True)
class SameAs:
    """Equal to another field of the same read: what only the service decides (the MX host it demands, say)."""

    field: str

    def met_by(self, found: Plain, state: State) -> bool:
        return self.field in state and state[self.field] is not None and found == state[self.field]

    def __str__(self) -> str:
        return "what the service demands"


Bound: TypeAlias = AtLeast | AtMost | Includes | SameAs

#: Field name → plain value (equality) or Bound. Fields not named are not owned and never compared.
Want: TypeAlias = Mapping[str, "Plain | Bound"]

Verb: TypeAlias = Literal["create", "change", "delete", "send"]


@dataclass(frozen=True, slots=True)
class Change:
    """One field that is not as wanted. `after` is the value that will be read then, or a Bound's own words."""

    field: str
    before: Plain
    after: Plain


@dataclass(frozen=True, slots=True)
class Diff:
    """How a read differs from a want. `before` is the whole state read, None where the thing does not exist.

    `origin`: how it was before our first change, for a module that says `goes_on`, when an act goes on with an earlier.
    """

    verb: Verb
    changes: tuple[Change, ...]
    before: State | None
    origin: State | None = None


def difference(want: Want | None, state: State | None) -> Diff | None:
    """What must change for `state` to be as `want` says; None when nothing must."""
    if want is None:
        if state is None:
            return None
        return Diff("delete", (), state)
    if state is None:
        return Diff("create", tuple([Change(name, None, _after(value, {})) for name, value in want.items()]), None)
    changes: list[Change] | None = None
    for name, value in want.items():
        found = state.get(name)
        if found == value or (isinstance(value, BOUNDS) and value.met_by(found, state)):
            continue
        changes = changes or []
        changes.append(Change(name, found, _after(value, state)))
    return Diff("change", tuple(changes), state) if changes else None


BOUNDS = (AtLeast, AtMost, Includes, SameAs)


def _after(value: Plain | Bound, state: State) -> Plain:
    if not isinstance(value, BOUNDS):
        return value
    if isinstance(value, SameAs):
        found = state.get(value.field)
        return str(value) if found is None else found
    return value.value if isinstance(value, AtMost) else str(value)


# ------------------------------------------------------------------------------------- places and faults


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file a person wrote. Lines and columns count from 1, as editors do; `length` is for the caret."""

    file: str
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, worded for the person who can mend it.

    `summary` never changes for one kind of fault ("unknown parameter"); `found` says what stands there, `remedy`
    what would work ("Did you mean «values»?"), `next_command` what to type. `line_text` is the line itself. `lines`
    stand below, each on a line of its own: a line feed in any of the texts is data, and makes none.
    """

    summary: str
    mark: Mark | None = None
    found: str = ""
    remedy: str = ""
    next_command: str = ""
    line_text: str = ""
    severity: Literal["error", "warning"] = "error"
    lines: tuple[str, ...] = ()


class Invalid(Exception):
    """What a person wrote cannot be used. All problems of all files at once; nothing was contacted. Exit 3."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problem(s)")
        self.problems = tuple(problems)


class Refusal(Exception):
    """mailmove stops here on purpose. `exit_code` is one of `ExitCode`; nothing is half-done."""

    def __init__(self, exit_code: ExitCode, problem: Problem) -> None:
        super().__init__(problem.summary)
        self.exit_code = exit_code
        self.problem = problem


class Fault(Exception):
    """A remote system could not be read or written. `text` is its own words, redacted; nothing is hidden.

    connection   "graph", "dns", …            code         the remote side's own code, "429", "REFUSED"
    request_id   for a support case           remedy       what a person may do about it
    """

    #: whether asking again without any change may help
    passing = False
    #: seconds after which the remote side wants to be asked again, where it said so
    retry_after: float | None = None

    def __init__(self, connection: str, text: str, *, code: str = "", request_id: str = "", remedy: str = "") -> None:
        super().__init__(f"{connection}: {text}")
        self.connection = connection
        self.text = text
        self.code = code
        self.request_id = request_id
        self.remedy = remedy


class Unreachable(Fault):
    """No answer, or "try later". Nothing was changed."""

    passing = True

    def __init__(self, connection: str, text: str, *, code: str = "", request_id: str = "", remedy: str = "",
                 retry_after: float | None = None) -> None:
        super().__init__(connection, text, code=code, request_id=request_id, remedy=remedy)
        self.retry_after = retry_after


class Denied(Fault):
    """The account may not do this. Nothing was changed."""


class Rejected(Fault):
    """A considered no: asking again without a change will not help. Nothing was changed."""


class InDoubt(Fault):
    """The request went out and its answer never came: it may or may not have been done. Look first."""

    passing = True


class ExitCode(IntEnum):
    """What the command line tells a script, one meaning each (design, section 7)."""

    CONVERGED = 0
    BUG = 1
    USAGE = 2
    INVALID = 3
    SOME_FAILED = 4
    REFUSED = 5
    STALE = 6
    LOCKED = 7
    DOUBT = 8
    JOURNAL = 9
    CHANGES_PENDING = 10
    PARKED_ON_TIME = 11
    PARKED_ON_PERSON = 12
    INTERRUPTED = 130
    TERMINATED = 143


#: Of several that apply, the first in this order is the exit code.
EXIT_ORDER = (1, 2, 3, 7, 9, 8, 6, 5, 4, 12, 11, 10, 0)


# --------------------------------------------------------------------------------- the states of a task row


class Phase(IntEnum):
    """Where one task stands for one row. Small integers: a million of them are kept as bytes."""

    PENDING = 0  # its needs are not met yet
    READY = 1  # its needs are met; it has not been looked at
    ACTING = 2  # looked at or acted on right now
    WAITING = 3  # on time: a wait, a window, a service at work
    ASKING = 4  # on a person's decision
    HANDED = 5  # on a person's hands; settled by reading
    BLOCKED = 6  # a guard, a missing consent or an unknown value forbids it
    FAILED = 7
    DONE = 8
    SUPERSEDED = 9  # done, and a later task on the same thing has begun
    WAIVED = 10  # a named person said: go on without it
    SKIPPED = 11  # its `when` is false
    HELD = 12  # a person said: do not touch


#: Phases that let what needs them go on.
MET = frozenset({Phase.DONE, Phase.SUPERSEDED, Phase.WAIVED, Phase.SKIPPED})


# ----------------------------------------------------------------------- what the language hands to the run


class Rows(Protocol):
    """The inventory's rows and their relations; constant during a run. Keys are text, unique within a kind."""

    def kinds(self) -> Sequence[str]: ...

    def keys(self, kind: str) -> Sequence[str]:
        """All row keys of a kind, in inventory order. The same object every time."""
        ...

    def fields(self, kind: str, key: str) -> Mapping[str, Plain]:
        """The row's own fields (no relations). KeyError when there is no such row."""
        ...

    def related(self, kind: str, key: str, other: str) -> Sequence[str]:
        """Keys of `other`-kind rows related to this one, through the one declared relation, in either direction.

        Every row is related to the single `organisation` row. LookupError when no relation is declared.
        """
        ...

    def position(self, kind: str, key: str) -> int:
        """Index of the row in `keys(kind)`. KeyError when there is no such row."""
        ...


class Outputs(Protocol):
    """What earlier tasks of a run registered; the run implements it, templates look things up in it."""

    def register(self, kind: str, row: str, name: str) -> Mapping[str, Plain] | Unknown:
        """The registered state of a row: the read state's fields, `before` (a mapping) and `held_since`."""
        ...


@dataclass(frozen=True, slots=True)
class Edge:
    """A need of one template on an earlier one.

    how: "same" – the same row (same kind) · "related" – the related rows of the other kind · "all" – every row.
    why: "order" (written order), "needs" (a `needs:`), "register" (a reference).
    """

    upstream: int
    how: Literal["same", "related", "all"]
    why: Literal["order", "needs", "register"]


class Template(Protocol):
    """One task over a row set. `slot` counts the pairs (row, loop item); without a loop, slot i is row i of `kind`.

    Binding never raises for want of a value: it answers Unknown with the names that are missing.
    """

    index: int  # place in written order, over all plays
    name: str
    id: str | None
    play: str
    mark: Mark
    module_name: str
    module: type[Any]  # subclass of engine.modules.base.Module
    kind: str
    edges: Sequence[Edge]
    tags: frozenset[str]
    register: str | None
    window: str | None
    timeout_seconds: int | None
    #: registers read by `not_before`, as (kind, name): looked at again when the wait ends
    wait_registers: Sequence[tuple[str, str]]

    def slots(self) -> int: ...

    def row(self, slot: int) -> str: ...

    def item(self, slot: int) -> Plain:
        """The loop item of this slot, None without a loop."""
        ...

    def slots_of(self, row: str) -> Sequence[int]: ...

    def when(self, slot: int, outputs: Outputs) -> bool | Unknown: ...

    def not_before(self, slot: int, outputs: Outputs) -> datetime | Unknown | None: ...

    def bind(self, slot: int, outputs: Outputs) -> Any | Unknown:
        """A ready module (engine.modules.base.Module). Raises Invalid when a value has the wrong type."""
        ...


@dataclass(frozen=True)
class Window:
    """A change window: acts may start only inside. Local wall-clock times of `timezone`; may pass midnight."""

    name: str
    days: tuple[int, ...]  # 0 = Monday, the day on which it opens
    opens: str  # "22:00"
    closes: str  # "06:00"
    timezone: str
    freezes: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True)
class Program:
    """What playbook and inventory say together, checked and resolved; nothing has been contacted.

    settings: the inventory's plain settings (migration, type, tenant, budget, …); connections are not in it.
    """

    name: str
    playbook: str
    templates: Sequence[Template]
    rows: Rows
    windows: Mapping[str, Window]
    settings: Mapping[str, Plain]
    warnings: Sequence[Problem] = ()


# -------------------------------------------------------------------------- what modules say about an act


@dataclass(frozen=True, slots=True)
class Handover:
    """`apply` could not act and hands exact text to a person; the row parks and is settled by reading.

    kind: "powershell", "dns", "internal_dns", "text". `text` may hold several rows' lines; it never holds a secret.
    `urgent`: something is out of order until it is carried out, so it stands first where several are joined.
    """

    kind: str
    title: str
    text: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """The remote system is at work on it: look again later. Not a failure, until the task's timeout."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failing:
    """The remote system says it failed. `remedy` in words; `retry` says whether acting again may help."""

    reason: str
    remedy: str = ""
    retry: bool = False


Outlook: TypeAlias = Waiting | Failing

# --------------------------------------------------------------------------------------- plan and events


@dataclass(frozen=True, slots=True)
class PlanGroup:
    """Equal changes of one task, counted. `rows` are the first few row keys; `word` is the class of the line:

    same · create · change · delete · send · waits · asks · hands · later (known after …) · skipped · superseded ·
    waived · held · unknown (a read failed) · refused (forbidden, a right is missing).
    """

    task: int
    word: str
    count: int
    text: str
    rows: tuple[str, ...] = ()
    guarded: tuple[str, ...] = ()  # names of the guards that stand before it, with their verdict now
    undo: str = "restore"
    after: str = ""  # «task» after which it is known
    sample: str = ""  # one of what is sent, as its recipient will read it


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """A wait, window or estimate in the plan's calendar. `at` None: known after «after»."""

    text: str
    at: datetime | None = None
    after: str = ""
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of the preflight saw, for the person who decides. Nothing to say: no finding.

    severity   refuse: nothing is done while it stands · warn · note
    told       False: it could not be told, and `text` says why; never silently fine
    passing    not told, but asking again may help
    rows       the first few rows concerned, of `count`
    liftable   a named person may go on all the same: `override CHECK organisation`
    """

    check: str
    severity: Literal["refuse", "warn", "note"]
    text: str
    remedy: str = ""
    rows: tuple[str, ...] = ()
    count: int = 0
    told: bool = True
    liftable: bool = False
    passing: bool = False


@dataclass
class Plan:
    """The preview, as a value. Reading it changes nothing; `tokens` is the consent it asks for."""

    name: str
    playbook: str
    made_at: datetime
    digest: str
    tasks: Sequence[Mapping[str, Plain]]  # name, play, kind, module, mark, rows – by task index
    groups: list[PlanGroup] = field(default_factory=list)
    calendar: list[CalendarEntry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    tokens: set[bytes] = field(default_factory=set)
    #: of the acts whose meaning is known now and that nobody has consented to yet: how many of each module
    asked: dict[str, int] = field(default_factory=dict)
    rows: list[Mapping[str, Plain]] = field(default_factory=list)  # per row, only where asked for (json, --out)
    order: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, as told to the reporter. `fields` hold what the event's kind says in docs/events.md."""

    kind: str
    at: datetime
    task: str = ""
    row: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


Listener: TypeAlias = Callable[[Event], None]


@dataclass
class Outcome:
    """How a run ended. `counts` by Phase name (lower case) over all task rows, `changed` acts settled in this run."""

    exit_code: ExitCode
    counts: dict[str, int]
    changed: int
    next_wake: datetime | None = None
    predictions: dict[str, int] = field(default_factory=dict)  # made, kept, broken, uncovered
    #: the same for each module
    by_module: dict[str, dict[str, int]] = field(default_factory=dict)
    next_command: str = ""


def first_exit(codes: Iterator[int] | Sequence[int]) -> ExitCode:
    """Of several exit codes that apply, the one that counts."""
    found = set(codes)
    return next((ExitCode(code) for code in EXIT_ORDER if code in found), ExitCode.CONVERGED)
