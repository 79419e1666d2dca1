"""The commands, one function each: arguments to values, values to the screen, and the next command to type.

Each returns its exit code. Rooms are imported by the command that needs them.
"""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.arguments import (
    HERE,
    PROGRAM,
    HelpAsked,
    as_typed,
    did_you_mean,
    pairs,
    parse,
    parser,
    split_list,
    to_write,
)
from engine.contract import ExitCode, Fault, Invalid, Outcome, Plan, Problem, Program, Refusal
from engine.screen import Screen
from engine.world import World

if TYPE_CHECKING:
    from engine.app import Place
    from engine.run.journal import Journal
    from engine.run.standing import Standing


def command(argv: Sequence[str], screen: Screen, world: World) -> int:
    """Runs one command line. Raises Refusal, always with a command to type next."""
    try:
        arguments = parse(argv)
    except HelpAsked as asked:
        screen.lines(str(asked).splitlines())
        return ExitCode.CONVERGED
    if not arguments.command:
        from engine import report

        screen.lines(parser()[0].format_help().splitlines())
        screen.lines(report.next_step(f"{PROGRAM} init DIR --type staged"))
        return ExitCode.USAGE
    try:
        return COMMANDS[arguments.command](arguments, screen, world)
    except Refusal as refusal:
        following = refusal.problem.next_command or f"{PROGRAM} {arguments.command} --help"
        problem = replace(refusal.problem, next_command=_complete(following, arguments))
        raise Refusal(refusal.exit_code, problem) from refusal
    except Invalid as invalid:
        from engine import report

        if arguments.command == "check":
            arguments.playbook = arguments.files[0]
        screen.error(report.problems(invalid.problems, _again("check", arguments)))
        return ExitCode.INVALID
    except Fault as fault:
        from engine import report

        screen.error([*report.fault(fault), f"    {_again('doctor', arguments)}"])
        return ExitCode.SOME_FAILED


# ------------------------------------------------------------------------------------------ arguments


def _place(arguments: Namespace, world: World) -> Place:
    from engine import app

    return app.place(Path(arguments.playbook), Path(arguments.inventory) if arguments.inventory else None,
                     Path(arguments.state) if arguments.state else None, world)


def _state_folder(where: Place) -> None:
    """Makes the folder of all journals. Raises Refusal (exit 9) where the disk says no."""
    try:
        where.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(ExitCode.JOURNAL, Problem(
            "the folder of the journals cannot be made", found=f"{where.state}: {error.strerror or error}.",
            remedy="Name another with --state or MAILMOVE_STATE.", next_command=f"{PROGRAM} doctor")) from None


def _again(name: str, arguments: Namespace, *more: str) -> str:
    """A command to type next, with the same playbook, inventory and state."""
    command = as_typed([PROGRAM, name, *more])
    return command if _here(arguments) else _complete(command, arguments)


def _here(arguments: Namespace) -> bool:
    return getattr(arguments, "playbook", HERE) == HERE and not any(
        getattr(arguments, name, None) for name in ("inventory", "state", "extra_vars"))


def _complete(command: str, arguments: Namespace) -> str:
    """The command with the playbook, inventory and state this one was given; other rooms cannot know them."""
    words = command.split(" ")
    if words[0] != PROGRAM or len(words) < 2 or words[1] not in COMMANDS or words[1] in BARE or (
            "--help" in words or "PLAYBOOK" in words):
        return command
    options: list[str] = []
    playbook = getattr(arguments, "playbook", HERE)
    if words[1] in PLAYBOOK_FIRST:
        if playbook != HERE and str(playbook) not in command:
            options.append(str(playbook))
    elif playbook != HERE:
        options += ["-p", str(playbook)]
    for option in ("inventory", "state"):
        if found := getattr(arguments, option, None):
            options += ["-i" if option == "inventory" else "--state", str(found)]
    for each in getattr(arguments, "extra_vars", None) or () if words[1] in ("plan", "apply", "check") else ():
        options += ["-e", each]
    place = 3 if words[1] in ("inventory", "journal") else 2
    return " ".join([*words[:place], *([shlex.join(options)] if options else []), *words[place:]])


def _by(arguments: Namespace, world: World) -> str:
    """Who speaks: `--by`, else the signed-in user. A word without a name is no decision."""
    if (name := arguments.by or world.user) != "unknown":
        return str(name)
    raise Refusal(ExitCode.USAGE, Problem("nobody says so", found="A decision needs a name.", remedy="Add --by NAME.",
                                          next_command=f"{PROGRAM} {arguments.command} --help"))


# ------------------------------------------------------------------------------------ before a migration


def _init(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app, report

    folder = Path(arguments.folder)
    with to_write(folder):
        made = app.init(folder, arguments.type)
    screen.line(f"A {arguments.type} migration in {folder}:")
    for path in made:
        screen.line(f"  {path.relative_to(folder).as_posix()}")
    screen.line()
    screen.line("Fill in inventory.yml; the sample values in it pass check and can be rehearsed as they are.")
    screen.lines(report.next_step(shlex.join([PROGRAM, "check", str(folder / "playbook.yml")])))
    return ExitCode.CONVERGED


def _check(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app, report

    found: list[Problem] = []
    program = None
    for name in arguments.files:
        file = Path(name) / "playbook.yml" if Path(name).is_dir() else Path(name)
        try:
            checked = app.check(file, Path(arguments.inventory) if arguments.inventory else None,
                                pairs(arguments.extra_vars), world)
        except Invalid as invalid:
            found += invalid.problems
            continue
        for warning in checked.warnings:
            screen.lines(report.problem(warning))
            screen.line()
        screen.line(f"{file}: {checked.what}, {checked.summary}: nothing is wrong.")
        program = checked.program or program
        if arguments.graph and checked.program:
            from engine.language.resolve import check_graph

            screen.line()
            screen.lines(check_graph(checked.program))
    if found:
        raise Invalid(list(dict.fromkeys(found)))
    if program is not None:
        arguments.playbook = arguments.files[0]
        screen.lines(report.next_step(_again("plan", arguments)))
    else:
        screen.lines(report.next_step(shlex.join([PROGRAM, "plan", str(Path(arguments.files[0]).parent)])))
    return ExitCode.CONVERGED


def _doctor(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app, doctor, report

    migration = app.load(_place(arguments, world), pairs(arguments.extra_vars), world)
    findings = []
    for finding in doctor.examine(migration):
        findings.append(finding)
        if arguments.json:
            screen.json(vars(finding))
        else:
            screen.lines(doctor.lines(finding))
    ill = [each for each in findings if not each.well]
    if not arguments.json:
        screen.line()
        screen.line("All is well." if not ill else f"{len(ill)} of {len(findings)} need attention.")
        screen.lines(report.next_step(_again("doctor" if ill else "plan", arguments)))
    return ExitCode.SOME_FAILED if ill else ExitCode.CONVERGED


def _plan(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app, report

    where, extra = _place(arguments, world), pairs(arguments.extra_vars)
    form = "json" if arguments.json else arguments.format
    out = getattr(arguments, "out", None)
    migration = app.load(where, extra, world)
    chosen = _chosen(arguments, migration.program)
    plan = app.plan(migration, chosen, rows=form == "json" or arguments.diff or bool(out))
    text = _plan_text(plan, form, where, extra, arguments.diff)
    refused = [each for each in plan.findings if each.severity == "refuse"]
    following = _again("apply", arguments)
    if refused:
        following = _again("doctor", arguments)
    if out:
        from engine.plan_file import as_mapping
        from engine.screen import as_json
        from engine.world import write_whole

        kept = as_json(as_mapping(plan, where.playbook, where.inventory, extra))
        with to_write(Path(out)):
            write_whole(Path(out), (text if form == "html" else kept).encode())
        if form != "html" and not refused:
            following = shlex.join([PROGRAM, "apply", out])
    if form == "text":
        screen.lines(report.plan_text(plan, diff=arguments.diff))
        screen.lines(report.next_step(following))
    elif form == "html" and out:
        screen.lines(report.wrap(f"{out}: {report.counts_line(plan.counts)}"))
        screen.lines(report.next_step(following))
    elif not out:
        screen.out.write(text)
    if refused:
        return ExitCode.REFUSED if any(each.told for each in refused) else ExitCode.SOME_FAILED
    pending = any(plan.counts.get(word) for word in (*report.ACTS, "asks", "hands", "later", "waits"))
    return ExitCode.CHANGES_PENDING if arguments.detailed_exitcode and pending else ExitCode.CONVERGED


def _plan_text(plan: Plan, form: str, where: Place, extra: dict[str, str], diff: bool) -> str:
    if form == "html":
        from engine.dossier import plan_html

        return plan_html(plan)
    if form == "json":
        from engine.plan_file import as_mapping
        from engine.screen import as_json

        return as_json(as_mapping(plan, where.playbook, where.inventory, extra), indent=2) + "\n"
    return ""


def _chosen(arguments: Namespace, program: Program) -> Any:
    """The part of the migration that is meant. Raises Refusal (exit 2) for a tag that no task has."""
    from engine import app

    known = {tag for template in program.templates for tag in template.tags}
    for tag in split_list([*arguments.tags, *arguments.skip_tags]):
        if tag not in known:
            raise Refusal(ExitCode.USAGE, Problem(
                "unknown tag", found=f'No task has the tag "{tag}".', remedy=did_you_mean(tag, known) or (
                    f"Tags: {', '.join(sorted(known))}." if known else "This playbook has no tags.")))
    return app.selection(split_list(arguments.limit), split_list(arguments.tags), split_list(arguments.skip_tags))


# ------------------------------------------------------------------------------------------- carry it out


def _apply(arguments: Namespace, screen: Screen, world: World) -> int:
    if arguments.check:
        return _plan(arguments, screen, world)
    from engine import app, plan_file, report
    from engine.progress import progress

    saved = None
    if plan_file.is_plan_file(Path(arguments.playbook)):
        kept = plan_file.read(Path(arguments.playbook))
        saved = kept.plan
        arguments.playbook = str(kept.playbook)
        arguments.inventory = arguments.inventory or str(kept.inventory)
        arguments.extra_vars = [f"{name}={value}" for name, value in kept.extra_vars.items()] + arguments.extra_vars
    migration = app.load(_place(arguments, world), pairs(arguments.extra_vars), world)
    _state_folder(migration.place)
    listener = progress(screen, migration.program.templates, json=arguments.json,
                        standing=lambda: _standing(migration.place, world))
    chosen, consent = _chosen(arguments, migration.program), _consent(arguments, screen)
    try:
        outcome, by_task = app.apply(migration, chosen, wait=arguments.wait, listener=listener, consent=consent,
                                     saved=saved)
    finally:
        listener.close()
    following = _following(arguments, outcome, migration.place, world)
    if arguments.json:
        screen.json({"event": "outcome", **vars(outcome), "next_command": following})
    else:
        screen.line()
        screen.lines(report.recap([{"play": each.play} for each in migration.program.templates], by_task))
        screen.lines(report.outcome(outcome))
        screen.lines(report.next_step(following))
    return outcome.exit_code


def _consent(arguments: Namespace, screen: Screen) -> Callable[[Plan], bool]:
    """Asks for what the preview shows. Where nobody can be asked, only `--yes` consents."""
    def consent(plan: Plan) -> bool:
        from engine import report

        if not arguments.json:
            screen.lines(report.plan_text(plan, diff=arguments.diff))
            screen.line()
        if arguments.yes:
            return True
        if not screen.interactive:
            screen.error(["Nobody can be asked here: only what was consented before is done. --yes consents."])
        return screen.ask("Carry this out? Only the answer yes does:").lower() == "yes"

    return consent


def _following(arguments: Namespace, outcome: Outcome, where: Place, world: World) -> str:
    from engine import pages

    if outcome.exit_code == ExitCode.SOME_FAILED:
        again = pages.retry_of(_standing(where, world), lambda name, *more: _again(name, arguments, *more))
        return again or _again("status", arguments)
    if outcome.exit_code == ExitCode.CONVERGED:
        return _again("report", arguments, "--html", "dossier.html")
    if outcome.exit_code == ExitCode.PARKED_ON_TIME:
        return _again("apply", arguments, "--wait")
    return _again("status", arguments)


# -------------------------------------------------------------------------------------- where it stands


def _standing(where: Place, world: World) -> Standing:
    """Where the migration stands by its journal."""
    from engine import app
    from engine.run import standing

    journal = app.reading(where, world)
    try:
        return standing.status(journal, app.clock_for(where, world).now())
    finally:
        journal.close()


def _status(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import pages, report

    found = _standing(_place(arguments, world), world)
    if arguments.json:
        screen.json(pages.status_mapping(found))
    elif arguments.csv:
        screen.lines(pages.status_csv(found))
    else:
        screen.lines(pages.status_text(found, lambda name, *more: _again(name, arguments, *more)))
        screen.lines(report.next_step(pages.next_command(found, lambda name, *more: _again(name, arguments, *more))))
    return ExitCode.CONVERGED


def _why(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app, pages, report, why
    from engine.run import standing

    where = _place(arguments, world)
    journal = app.reading(where, world)
    try:
        program = _program(where, arguments, world)
        _known_row(journal, program, arguments.row)
        if arguments.json or arguments.task:
            found = standing.why(journal, arguments.row, arguments.task, app.clock_for(where, world).now())
            if arguments.json:
                screen.json(found)
            else:
                screen.lines(pages.why_text(arguments.row, found))
        else:
            screen.lines(why.page(arguments.row, journal, program,
                                  lambda name, *more: _again(name, arguments, *more)))
    finally:
        journal.close()
    if not arguments.json:
        screen.lines(report.next_step(_again("status", arguments)))
    return ExitCode.CONVERGED


def _program(where: Place, arguments: Namespace, world: World) -> Program | None:
    """What the files say, or None while they cannot be used: what has happened can be told without them."""
    from engine import app

    try:
        return app.load(where, pairs(getattr(arguments, "extra_vars", ())), world).program
    except Invalid:
        return None


def _known_row(journal: Journal, program: Program | None, row: str) -> None:
    """Raises Refusal (exit 2) for a name that is no row and that no record holds."""
    from engine.run import standing

    rows = program.rows if program else None
    known = [key for kind in rows.kinds() for key in rows.keys(kind)] if rows else []
    if row in known or any(True for _ in journal.rows(names=(row,))):
        return
    raise Refusal(ExitCode.USAGE, Problem(
        "unknown row", found=f'Neither the inventory nor the journal has a row "{row}".',
        remedy=did_you_mean(row, [*known, *standing.names(journal)]), next_command=f"{PROGRAM} inventory list"))


def _history(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app, pages, report
    from engine.run import standing

    where = _place(arguments, world)
    journal = app.reading(where, world)
    empty = True
    try:
        if arguments.row:
            _known_row(journal, _program(where, arguments, world), arguments.row)
        for record in standing.history(journal, arguments.row):
            empty = False
            if arguments.json:
                screen.json(pages.record_mapping(record))
            else:
                screen.lines(pages.record_lines(record))
    finally:
        journal.close()
    if not arguments.json:
        if empty:
            screen.line("Nothing has happened yet.")
        screen.lines(report.next_step(_again("status", arguments)))
    return ExitCode.CONVERGED


def _failures(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app, failures

    migration = app.load(_place(arguments, world), {}, world)
    return failures.command(arguments, migration, screen, lambda name, *more: _again(name, arguments, *more))


def _report(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app, pages, report
    from engine.dossier import dossier_html
    from engine.run import standing
    from engine.world import write_whole

    where = _place(arguments, world)
    journal, now = app.reading(where, world), app.clock_for(where, world).now()
    try:
        status = pages.status_mapping(standing.status(journal, now))
        told = [pages.record_mapping(record) for record in standing.history(journal)]
    finally:
        journal.close()
    with to_write(Path(arguments.html)):
        write_whole(Path(arguments.html), dossier_html(
            app.migration_name(where.inventory), now, status, told).encode())
    screen.line(f"{arguments.html}: {len(told):,} events.")
    screen.lines(report.next_step(_again("status", arguments)))
    return ExitCode.CONVERGED


# ------------------------------------------------------------------------------------- a person's words


def _word(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app, report
    from engine.run import words

    by, reason = _by(arguments, world), arguments.reason
    rows = tuple(arguments.rows)
    task = getattr(arguments, "task", "")
    where = _place(arguments, world)
    if arguments.command == "hold":
        _state_folder(where)
    journal = app.speaking(where, world, create=arguments.command == "hold")
    try:
        if arguments.command == "approve":
            said = words.approve(journal, task=task, rows=rows, by=by, reason=reason, typed=arguments.typed or "")
        elif arguments.command == "waive":
            said = words.waive(journal, task=task, rows=rows, by=by, reason=reason)
        elif arguments.command == "retry":
            said = words.retry(journal, task=task, rows=rows, by=by, reason=reason)
        elif arguments.command == "resolve":
            said = words.resolve(journal, task=task, rows=rows, by=by, reason=reason,
                                 done=arguments.done, evidence=arguments.evidence)
        elif arguments.command == "override":
            said = words.override(journal, guard=task, rows=rows, by=by, reason=reason)
        elif arguments.command == "hold":
            from engine.language import inventory as inventories

            found = inventories.load(_place(arguments, world).inventory) if rows else None
            known = {key for kind in found.kinds() for key in found.keys(kind)} if found else None
            said = words.hold(journal, rows=rows, by=by, reason=reason, known=known)
        else:
            said = words.release(journal, rows=rows, by=by, reason=reason)
    finally:
        journal.close()
    if arguments.json:
        screen.json({"word": arguments.command, "count": said.count, "rows": said.rows, "by": by})
    else:
        past = {"approve": "Approved", "waive": "Waived", "retry": "To be tried again", "resolve": "Noted",
                "override": "Overridden", "hold": "On hold", "release": "Released"}[arguments.command]
        name, *more = said.then or ("apply",)
        shown = report.named(said.rows, max(said.count, len(said.rows)), 60) if said.rows else "everything"
        screen.line(f"{past} by {by}: {shown}.")
        screen.lines(report.next_step(_again(name, arguments, *more)))
    return ExitCode.CONVERGED


def _undo(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import app
    from engine import undo as page

    migration = app.load(_place(arguments, world), pairs(arguments.extra_vars), world)
    return page.command(arguments, migration, lambda: _by(arguments, world), screen, world,
                        lambda name, *more: _again(name, arguments, *more))


# ------------------------------------------------------------------------------------------- everything else


def _rehearse(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import rehearse

    if arguments.keep:
        with to_write(Path(arguments.keep)):
            Path(arguments.keep).mkdir(mode=0o700, parents=True, exist_ok=True)
    return rehearse.command(arguments, _place(arguments, world), pairs(arguments.extra_vars), screen, world,
                            lambda name, *more: _again(name, arguments, *more))


def _inventory(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import rows

    if arguments.what == "convert":
        return rows.convert(arguments, lambda: _place(arguments, world), screen)
    return rows.inventory(arguments, _place(arguments, world), screen, world,
                        lambda name, *more: _again(name, arguments, *more))


def _vars(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import rows

    return rows.variables(arguments, _place(arguments, world), pairs(arguments.extra_vars), screen, world,
                          lambda name, *more: _again(name, arguments, *more))


def _doc(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import error_reference, modules, reference, report

    names = modules.names()
    error = error_reference.find(arguments.module or "")
    if arguments.module == "errors" or error is not None:
        screen.lines(error_reference.one(error) if error is not None else error_reference.markdown()
                     if arguments.markdown else error_reference.text())
        if not arguments.markdown:
            screen.lines(report.next_step(f"{PROGRAM} failures"))
    elif arguments.markdown:
        screen.lines(line for text in reference.markdown({name: modules.find(name) for name in names})
                     for line in text.split("\n"))
    elif arguments.module is None:
        screen.lines(report.table([[name, report.shorten(reference._title(modules.find(name)), 76)]
                                   for name in names]))
        screen.lines(report.next_step(f"{PROGRAM} doc MODULE"))
    elif arguments.module not in names:
        raise Refusal(ExitCode.USAGE, Problem(
            "unknown module", found=f'There is no module "{arguments.module}".',
            remedy=did_you_mean(arguments.module, names), next_command=f"{PROGRAM} doc"))
    else:
        screen.lines(reference.text(arguments.module, modules.find(arguments.module)))
        screen.lines(report.next_step(f"{PROGRAM} check playbook.yml"))
    return ExitCode.CONVERGED


def _schema(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import report
    from engine.language.schema import write_schemas

    folder = Path(arguments.folder)
    with to_write(folder):
        written = write_schemas(folder)
    screen.lines(f"  {path.as_posix()}" for path in written)
    screen.lines(report.next_step(f"{PROGRAM} check playbook.yml"))
    return ExitCode.CONVERGED


def _journal(arguments: Namespace, screen: Screen, world: World) -> int:
    from engine import journal

    return journal.command(arguments, _place(arguments, world), lambda: _by(arguments, world), screen, world,
                           lambda name, *more: _again(name, arguments, *more))


#: Commands whose own argument is the playbook; the others name it by `-p`.
PLAYBOOK_FIRST = frozenset({"check", "plan", "apply", "rehearse"})

#: Commands that are about no playbook.
BARE = frozenset({"init", "doc", "schema"})

COMMANDS: dict[str, Callable[[Namespace, Screen, World], int]] = {
    "init": _init, "check": _check, "doctor": _doctor, "plan": _plan, "apply": _apply, "status": _status,
    "why": _why, "history": _history, "failures": _failures, "report": _report, "approve": _word, "waive": _word,
    "retry": _word, "resolve": _word, "override": _word, "hold": _word, "release": _word, "undo": _undo,
    "rehearse": _rehearse, "inventory": _inventory, "vars": _vars, "doc": _doc, "schema": _schema, "journal": _journal,
}
