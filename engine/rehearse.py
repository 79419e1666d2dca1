"""rehearse: the user's own rows and plays against a simulated organisation, weeks in seconds, with kills on request.

The engine runs as a child process with an inventory in which only connections and clock are others: no code asks
whether it is rehearsing. Afterwards the playbook runs once more and must find nothing to do.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from argparse import Namespace
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from engine import app, report
from engine.contract import Event, ExitCode, Problem, Refusal
from engine.laboratory import Lab, Start, Workplace, process
from engine.people import Person
from engine.progress import Lines
from engine.screen import Screen, plain
from engine.world import SystemClock, World

#: Ways to act for which the lab has no counterpart: a DNS host's web API is rehearsed by signed updates.
NOT_IN_THE_LAB = frozenset({"lexicon"})
#: Between two looks at what the engine has written. The lab is asked only once the engine says that it waits.
LOOK_SECONDS = 0.01
#: Virtual time in which nothing happens but waiting, before the rehearsal says that it is stuck. The longest wait of
#: the shipped playbooks is 14 days.
IDLE_MAX = timedelta(days=21)
#: New runs without any change before the rehearsal says that it is stuck.
IDLE_RUNS_MAX = 3
#: How a run may end that a person's word and another run can mend. 143: it was asked to end because it was stuck.
PERSON_CAN_HELP = frozenset({ExitCode.SOME_FAILED, ExitCode.DOUBT, ExitCode.PARKED_ON_TIME, ExitCode.PARKED_ON_PERSON,
                             ExitCode.TERMINATED})
#: Of what an engine wrote that was no event (a refusal, a traceback), this many last lines are kept.
LAST_WORDS_MAX = 20


@dataclass(frozen=True)
class Kill:
    """The engine is killed at its `at`-th request of the whole rehearsal: before it is handled, after, or answered.

    Requests are counted from the first run on; those of the preview before it do not count.
    """

    at: int
    when: str = "before"

    @classmethod
    def parse(cls, text: str) -> Kill:
        """From `N[:WHEN]`. Raises Refusal (exit 2)."""
        number, _, when = text.partition(":")
        if not number.isdigit() or when not in ("", "before", "after", "answered"):
            raise Refusal(ExitCode.USAGE, Problem(
                "the command line cannot be understood", found=f'--kill-at "{text}" is not N[:before|after|answered].',
                next_command="mailmove rehearse --help"))
        return cls(int(number), when or "before")


@dataclass
class Rehearsal:
    """What came out of it. `digest` is the organisation's at the end, without times and ids.

    predictions   of the last run that told its outcome: agreement is counted over the whole journal
    last_words    the end of what an engine wrote that ended as no person could mend: a refusal, a traceback
    """

    exit_code: int = 0
    kills: int = 0
    runs: int = 0
    said: int = 0
    changed: int = 0
    virtual_seconds: float = 0.0
    wall_seconds: float = 0.0
    requests: int = 0
    digest: str = ""
    again_changed: int | None = None
    again_same: bool | None = None
    twice: list[str] = field(default_factory=list)
    predictions: Mapping[str, int] = field(default_factory=dict)
    by_module: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    last_words: Sequence[str] = ()
    tasks: list[Mapping[str, Any]] = field(default_factory=list)
    parked: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return (self.exit_code == ExitCode.CONVERGED and self.again_changed == 0 and bool(self.again_same)
                and not self.twice)


def organisation(migration: app.Migration) -> dict[str, Any]:
    """The user's rows as the lab's description of the organisation (docs/design.md, "The lab")."""
    program, rows = migration.program, migration.program.rows
    settings = program.settings
    return plain({  # type: ignore[no-any-return]
        "type": settings.get("type"), "exchange": settings.get("exchange"), "tenant": settings.get("tenant"),
        "vars": dict(migration.inventory.vars),
        "sender": (migration.inventory.connections.get("graph") or {}).get("sender"),
        "rows": {kind: [dict(rows.fields(kind, key)) for key in rows.keys(kind)]
                 for kind in rows.kinds() if kind != "organisation"}})


def write_inventory(original: Path, ready: Mapping[str, Any], folder: Path) -> Path:
    """The user's inventory with the lab's connections and clock, in `folder`, the files it names beside it.

    How a connection acts (`provider: by_hand`, `shell: none`) stays the user's choice: it is part of what is rehearsed.
    """
    from engine.language import source
    from engine.language.inventory_schema import CONNECTIONS

    root = source.read(original).root
    assert root is not None
    found: dict[str, Any] = source.plain(root)
    given: Mapping[str, Any] = found.get("connections") or {}
    connections = {}
    for name, settings in ready["connections"].items():
        chosen = given.get(name) or {}
        # the lab offers more doors than an inventory knows (an internal DNS view): those are not the engine's
        known = {word: each for word, each in settings.items() if word in CONNECTIONS[name]["properties"]}
        connections[name] = {**_secrets_named(known, folder, name),
                             **{word: chosen[word] for word in ("provider", "shell", "conversion")
                                if word in chosen and chosen[word] not in NOT_IN_THE_LAB}}
        if chosen.get("provider") == "list":
            connections[name] = dict(chosen)
            _copy(original.parent, str(chosen["file"]), folder)
    found |= {"connections": connections, "clock": ready["clock"]}
    found.pop("tell", None)  # nobody is told of what is only rehearsed
    if "tenant" in ready:
        found["tenant"] = ready["tenant"]
    for rows in (found.get("rows") or {}).values():
        if isinstance(rows, str):
            _copy(original.parent, rows, folder)
        for row in rows if isinstance(rows, tuple) else ():
            if row.get("csv"):
                _copy(original.parent, row["csv"], folder)
    if found.get("letters"):
        shutil.copytree(original.parent / str(found["letters"]), folder / str(found["letters"]), dirs_exist_ok=True)
    inventory = folder / "inventory.yml"
    # JSON is YAML: no text of the user's inventory can change its meaning on the way. A secret is JSON with a tag.
    text = json.dumps(plain(found), indent=1).replace(f'"{NAMED}', '!secret "file:')
    inventory.write_text(text, encoding="utf-8")
    return inventory


#: Stands before a secret's path until the text is written; no value of an inventory can hold a NUL.
NAMED = json.dumps("\0secret ")[1:-1]


def _secrets_named(settings: Mapping[str, Any], folder: Path, connection: str) -> dict[str, Any]:
    """The lab's secrets as files that the inventory names: an inventory with a secret in it is refused."""
    found = dict(settings)
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found[name] = _secrets_named(value, folder, f"{connection}-{name}")
        elif name in ("password", "client_secret", "certificate_password", "secret"):
            path = folder / "secrets" / f"{connection}-{name}"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_text(str(value), encoding="utf-8")
            found[name] = f"\0secret {path}"
    return found


def _copy(source: Path, name: str, target: Path) -> None:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / name, target / name)


class Engine:
    """One `mailmove apply` or `undo` as a child process, its events read from a file as they come."""

    def __init__(self, words: Sequence[str], output: Path, environment: Mapping[str, str],
                 start: Start = process) -> None:
        self._out: IO[bytes] = output.open("wb")
        self.output = output
        self.process = start(["engine", *words], self._out, None, environment)
        self._in = output.open("rb")
        self._half = b""
        self.outcome: Mapping[str, Any] = {}
        #: it has said that it waits, and not that it goes on
        self.waits = False
        #: it says so: an undo does not
        self.tells = words[0] != "undo"
        self.last: deque[str] = deque(maxlen=LAST_WORDS_MAX)

    def events(self) -> Iterator[Mapping[str, Any]]:
        """The events that have come since the last look."""
        *whole, self._half = (self._half + self._in.read()).split(b"\n")
        for line in whole:
            try:
                event = json.loads(line)
            except ValueError:
                self.last.append(line.decode(errors="replace"))
                continue
            if event.get("event") == "outcome":
                self.outcome = event
            elif event.get("event") in ("waiting", "asking_again", "waited"):
                self.waits = event["event"] != "waited"
            yield event

    def stop(self) -> int:
        """Asks it to end, as Ctrl-C or a service's stop would."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait()
        for _ in self.events():  # what it wrote last
            pass
        self.close()
        return code

    def close(self) -> None:
        self._in.close()
        self._out.close()


@dataclass
class Stage:
    """One rehearsal under way: the lab, the person, and one engine after the other."""

    lab: Lab
    person: Person
    words: Sequence[str]
    folder: Path
    kills: list[Kill]
    screen: Screen | None
    world: World
    #: starts an engine
    start: Start = process
    #: how many engines more may be killed by somebody else than the lab
    deaths: int = 0
    #: requests that were asked before the first run
    before: int = 0
    result: Rehearsal = field(default_factory=Rehearsal)
    #: since when the engine has done nothing but wait; None: it has just done something
    alive: datetime | None = None

    def __post_init__(self) -> None:
        self.listener = Lines(self.screen, parked=False) if self.screen else None

    def perform(self) -> int:
        """Runs the engine until all is done or nobody can help any more. The last exit code."""
        idle = 0
        while True:
            engine, code, stuck = self._run(self._answer)
            self.result.predictions = engine.outcome.get("predictions") or self.result.predictions
            self.result.by_module = engine.outcome.get("by_module") or self.result.by_module
            if code == ExitCode.CONVERGED:
                return code
            # Rows failed, or nobody could help by waiting. A person looks, says what there is to say, and runs it
            # again an hour later; a new run also asks anew for consent.
            said = self._answer() if code in PERSON_CAN_HELP else 0
            idle = idle + 1 if not (said or engine.outcome.get("changed")) else 0
            if idle >= IDLE_RUNS_MAX or code not in PERSON_CAN_HELP:
                return int(ExitCode.PARKED_ON_PERSON) if stuck else code
            self.lab.post("/clock/advance", seconds=3600)

    def again(self) -> None:
        """The playbook once more: it must change nothing, here and over there."""
        before = (self.lab.get("/state/digest"), self.lab.get("/counters")["moved"])
        self.alive = None
        # It may wait, for a read that a fault spoils is tried again later; what it may not is change or ask anything.
        engine, code, _ = self._run(lambda: 0)
        changed = engine.outcome.get("changed", engine.outcome.get("undone"))
        self.result.again_changed = changed if code == ExitCode.CONVERGED else -1
        self.result.again_same = before == (self.lab.get("/state/digest"), self.lab.get("/counters")["moved"])
        self.result.digest = str(_digest(before[0]))
        if code != ExitCode.CONVERGED:
            self.result.last_words = tuple(engine.last)

    def _run(self, answer: Callable[[], int]) -> tuple[Engine, int, bool]:
        """One engine until it ends by itself, its exit code, whether it was stuck; a killed one is started again."""
        while True:
            engine = self._engine()
            try:
                stuck = self._watch(engine, answer)
            except BaseException:
                engine.stop()  # no engine outlives its rehearsal
                raise
            code = engine.stop()
            if self.listener:
                self.listener.close()
            if code == -9 and self.deaths and not (self.kills and self.kills[0].at <= self.requests()):
                self.deaths -= 1
                self.result.kills += 1
                continue
            if code != -9 or not self.kills:
                if code not in (ExitCode.CONVERGED, *PERSON_CAN_HELP):
                    self.result.last_words = tuple(engine.last)
                return engine, code, stuck
            kill = self.kills.pop(0)
            self.result.kills += 1
            self._say(f"engine killed at request {kill.at:,} ({kill.when}); started again, it goes on from the journal")

    def _answer(self) -> int:
        said = self.person.answer()
        for words in self.person.said[-said:] if said else ():
            self._say(f"person: {words}")
        return said

    def _engine(self) -> Engine:
        self.result.runs += 1
        engine = Engine([*self.words, "--yes", "--json", "--wait"], self.folder / f"engine-{self.result.runs}.jsonl",
                        self.world.environment, self.start)
        done = self.requests()
        while self.kills and self.kills[0].at <= done:
            self.kills.pop(0)  # already behind us
        if self.kills:
            self.lab.post("/kill", pid=engine.process.pid, at=self.kills[0].at - done, when=self.kills[0].when)
        return engine

    def _watch(self, engine: Engine, answer: Callable[[], int]) -> bool:
        """Until the engine ends; True when it waits for something that nobody will bring."""
        while engine.process.poll() is None:
            self._tell(engine)
            # It says that it waits just before it does.
            pending = self.lab.get("/clock/pending")["waiting"] if engine.waits or not engine.tells else None
            if pending is None:
                SystemClock().sleep(LOOK_SECONDS)
                continue
            said = answer()
            until = pending.get("until")
            if said:
                self.alive = None
            elif until is None or datetime.fromisoformat(until) - self._alive(until) > IDLE_MAX:
                return True
            engine.waits = not self.lab.post("/clock/grant", move=not said)["granted"]
        self._tell(engine)
        return False

    def _alive(self, now: str) -> datetime:
        """When something last happened but waiting."""
        self.alive = self.alive or datetime.fromisoformat(now)
        return self.alive

    def _tell(self, engine: Engine) -> None:
        for event in engine.events():
            if event.get("event") not in ("waiting", "asking_again", "waited", "run_started"):
                self.alive = None
            if self.listener and event.get("event") in ("acted", "failed"):
                fields = {name: each for name, each in event.items() if name not in ("event", "at", "task", "row")}
                self.listener(Event(event["event"], datetime.fromisoformat(event["at"]), event.get("task", ""),
                                    event.get("row", ""), fields))

    def requests(self) -> int:
        """How many requests the engines have asked so far."""
        arrived: int = self.lab.get("/counters")["arrived"]
        return arrived - self.before

    def _say(self, text: str) -> None:
        if self.screen and self.listener:
            self.listener.close()  # what was done before it was said
            now = datetime.fromisoformat(self.lab.get("/clock")["now"])
            self.screen.line(f"{report.moment(now)}  {text}")


def rehearse(migration: app.Migration, *, seed: int, faults: str, kills: Sequence[Kill], folder: Path,
             extra_vars: Mapping[str, str], screen: Screen | None, world: World,
             outside: Mapping[str, Any] | None = None, start: Start = process, deaths: int = 0,
             undo: Sequence[str] = ()) -> Rehearsal:
    """The whole migration in `folder`. Raises LabFailed when the lab does, Refusal when the person is stuck.

    outside: real servers that stand in for the lab's own, as the lab's description names them (docs/lab.md).
    start, deaths: for rigs, what starts lab and engines, and how many engines may be killed by others than the lab.
    undo: words of `mailmove undo`, carried out once the migration is done. The result is then the undo's.
    """
    from engine.cli import main

    begun = SystemClock().now()
    described = {**organisation(migration), "outside": dict(outside or {})}
    with Lab(folder, described, seed=seed, faults=faults, environment=world.environment, start=start) as lab:
        inventory = write_inventory(migration.place.inventory, lab.ready, folder)
        opened = datetime.fromisoformat(lab.get("/clock")["now"])
        playbook, files = str(migration.place.playbook), ["-i", str(inventory), "--state", str(folder / "state")]

        def command(argv: Sequence[str]) -> tuple[int, str, str]:
            out, err = io.StringIO(), io.StringIO()
            return main(argv, out, err, world), out.getvalue(), err.getvalue()

        words = ["-p", playbook, *files]
        # the source's own account: of the doors that ask for it, every release has the directory
        person = Person(command, words, Workplace(lab, lab.ready["connections"]["directory"]))
        extra = [word for name, value in extra_vars.items() for word in ("-e", f"{name}={value}")]
        # Always, shown or not: with the same seed a rehearsal without a screen tells the same story.
        preview = app.plan(app.load(app.place(migration.place.playbook, inventory, folder / "state", world), extra_vars,
                                    world), app.selection(frozenset(), frozenset(), frozenset()))
        if screen:
            screen.lines(report.plan_text(preview))
            screen.line()
        stage = Stage(
            lab, person, ["apply", playbook, *files, *extra], folder, sorted(kills, key=lambda kill: kill.at), screen,
            world, before=lab.get("/counters")["arrived"], start=start, deaths=deaths)
        result, before_undo = stage.result, Counter[str]()
        result.exit_code = stage.perform()
        if undo and result.exit_code == ExitCode.CONVERGED:
            before_undo = Counter(lab.get("/counters")["effects"])
            stage.words, stage.alive = ["undo", *undo, *words, *extra], None
            result.exit_code = stage.perform()
        result.virtual_seconds = (datetime.fromisoformat(lab.get("/clock")["now"]) - opened).total_seconds()
        if result.exit_code == ExitCode.CONVERGED:
            stage.again()
        counters = lab.get("/counters")
        result.requests, result.said = stage.requests(), len(person.said)
        history = [json.loads(line) for line in command(["history", *words, "--json"])[1].splitlines()]
        result.changed = sum(record["kind"] == "settled" and record["body"]["acted"] for record in history)
        result.twice = list(twice(Counter(counters["effects"]) - before_undo, history))
        status = person.status()
        result.tasks, result.parked = list(status["tasks"]), list(status["parked"])
        if not result.digest:
            result.digest = str(_digest(lab.get("/state/digest")))
        result.wall_seconds = (SystemClock().now() - begun).total_seconds()
        lab.post("/stop")
    return result


def _digest(answer: Any) -> Any:
    return answer["digest"] if isinstance(answer, Mapping) else answer


def twice(effects: Mapping[str, int], history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Effects that happened more often than the journal has acts for them on that thing."""
    acts: dict[str, set[str]] = {}
    for record in history:
        if record["kind"] == "intent":
            acts.setdefault(record["key"], set()).add(record["identity"])
    for effect, count in sorted(effects.items()):
        thing = effect.rpartition(" ")[0] or effect
        # A record set is replaced once for each task that owns it; everything else happens once.
        allowed = max(1, len(acts.get(thing, ()))) if thing.startswith("dns/") else 1
        if count > allowed:
            yield f"{effect}: {count} times"


def command(arguments: Namespace, place: app.Place, extra_vars: Mapping[str, str], screen: Screen, world: World,
            again: Callable[..., str]) -> int:
    """The command `rehearse`."""
    migration = app.load(place, extra_vars, world)
    kills = [Kill.parse(text) for text in arguments.kill_at]
    with tempfile.TemporaryDirectory(prefix="mailmove-rehearsal-") as temporary:
        folder = Path(arguments.keep or temporary).resolve()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise Refusal(ExitCode.USAGE, Problem("the folder is not empty", found=f"{folder} holds files already.",
                                                  remedy="Name a new one: a rehearsal begins with an empty journal."))
        result = rehearse(migration, seed=arguments.seed, faults=arguments.faults, kills=kills, folder=folder,
                          extra_vars=extra_vars, screen=None if arguments.json else screen, world=world)
    if arguments.json:
        screen.json({**asdict(result), "well": result.well})
    else:
        screen.lines(lines(result))
        screen.lines(report.next_step(again("plan" if result.well else "check")))
    if result.well:
        return ExitCode.CONVERGED
    return result.exit_code or ExitCode.SOME_FAILED


def lines(result: Rehearsal) -> Iterator[str]:
    """The rehearsal's own report."""
    yield ""
    yield from report.recap(result.tasks, [task["counts"] for task in result.tasks])
    yield ""
    yield (f"{report.duration(timedelta(seconds=result.virtual_seconds))} of migration in "
           f"{result.wall_seconds:.1f} seconds: {result.changed:,} changes, {result.requests:,} requests, "
           f"{result.said:,} answers of a person, "
           f"{result.kills} {'kill' if result.kills == 1 else 'kills'}.")
    made = result.predictions
    if made:
        yield (f"Predictions: {made.get('kept', 0):,} kept, {made.get('broken', 0):,} broken, "
               f"{made.get('uncovered', 0):,} acts whose meaning was known only later.")
        yield from report.agreement(result.by_module)
    if result.twice:
        yield f"Done more than once: {len(result.twice)}"
        yield from (f"  {each}" for each in result.twice[:10])
    else:
        yield "Done more than once: nothing."
    if result.again_changed is not None:
        changed = "failed" if result.again_changed < 0 else f"{result.again_changed} changed"
        yield (f"The same playbook once more: {changed}; the organisation is "
               f"{'the same' if result.again_same else 'NOT the same'} (digest {result.digest[:16]}).")
    if result.exit_code:
        yield f"The engine ended with exit code {result.exit_code}."
        for row in result.parked[:20]:
            yield report.shorten(f"  {row['phase']}: {row['task']}  {row['row']}: {row['reason']}", 200)
    if result.last_words:
        yield "The last it said:"
        yield from (f"    {line}" for line in result.last_words)
