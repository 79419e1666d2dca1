"""Before a migration, and beside it: make a folder, check, look, plan, rehearse, and what there is to read."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.arguments import PROGRAM, did_you_mean, pairs, split_list, to_write
from engine.commands.where import again, place
from engine.contract import ExitCode, Invalid, Plan, Problem, Program, Refusal
from engine.screen import Screen
from engine.world import World, is_folder

if TYPE_CHECKING:
    from engine.app import Place


def init(arguments: Namespace, screen: Screen, world: World) -> int:
    """Makes a migration folder that passes `check`."""
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


def check(arguments: Namespace, screen: Screen, world: World) -> int:
    """All that can be found wrong offline."""
    from engine import app, report

    found: list[Problem] = []
    program = None
    for name in arguments.files:
        file = Path(name) / "playbook.yml" if is_folder(Path(name)) else Path(name)
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
        screen.lines(report.next_step(again("plan", arguments)))
    else:
        screen.lines(report.next_step(shlex.join([PROGRAM, "plan", str(Path(arguments.files[0]).parent)])))
    return ExitCode.CONVERGED


def doctor(arguments: Namespace, screen: Screen, world: World) -> int:
    """Connections, rights, clock and versions."""
    from engine import app, doctor, report

    migration = app.load(place(arguments, world), pairs(arguments.extra_vars), world)
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
        screen.lines(report.next_step(again("doctor" if ill else "plan", arguments)))
    return ExitCode.SOME_FAILED if ill else ExitCode.CONVERGED


def plan(arguments: Namespace, screen: Screen, world: World) -> int:
    """The preview; changes nothing."""
    from engine import app, report

    where, extra = place(arguments, world), pairs(arguments.extra_vars)
    form = "json" if arguments.json else arguments.format
    out = getattr(arguments, "out", None)
    migration = app.load(where, extra, world)
    chosen = selected(arguments, migration.program)
    plan = app.plan(migration, chosen, rows=form == "json" or arguments.diff or bool(out))
    text = _plan_text(plan, form, where, extra, arguments.diff)
    refused = [each for each in plan.findings if each.severity == "refuse"]
    following = again("apply", arguments)
    if refused:
        following = again("doctor", arguments)
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


def selected(arguments: Namespace, program: Program) -> Any:
    """The part of the migration that is meant. Raises Refusal (exit 2) for a tag that no task has."""
    from engine import app

    known = {tag for template in program.templates for tag in template.tags}
    for tag in split_list([*arguments.tags, *arguments.skip_tags]):
        if tag not in known:
            raise Refusal(ExitCode.USAGE, Problem(
                "unknown tag", found=f'No task has the tag "{tag}".', remedy=did_you_mean(tag, known) or (
                    f"Tags: {', '.join(sorted(known))}." if known else "This playbook has no tags.")))
    return app.selection(split_list(arguments.limit), split_list(arguments.tags), split_list(arguments.skip_tags))


def rehearse(arguments: Namespace, screen: Screen, world: World) -> int:
    """The whole migration in the lab."""
    from engine import rehearse

    if arguments.keep:
        with to_write(Path(arguments.keep)):
            Path(arguments.keep).mkdir(mode=0o700, parents=True, exist_ok=True)
    return rehearse.command(arguments, place(arguments, world), pairs(arguments.extra_vars), screen, world,
                            lambda name, *more: again(name, arguments, *more))


def inventory(arguments: Namespace, screen: Screen, world: World) -> int:
    """Rows: list, import, split, convert."""
    from engine import rows

    if arguments.what == "convert":
        return rows.convert(arguments, lambda: place(arguments, world), screen, world)
    return rows.inventory(arguments, place(arguments, world), screen, world,
                        lambda name, *more: again(name, arguments, *more))


def variables(arguments: Namespace, screen: Screen, world: World) -> int:
    """Where each value comes from."""
    from engine import rows

    return rows.variables(arguments, place(arguments, world), pairs(arguments.extra_vars), screen, world,
                          lambda name, *more: again(name, arguments, *more))


def doc(arguments: Namespace, screen: Screen, world: World) -> int:
    """The reference of a module, or of the errors."""
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


def schema(arguments: Namespace, screen: Screen, world: World) -> int:
    """Writes the JSON Schemas."""
    from engine import report
    from engine.language.schema import write_schemas

    folder = Path(arguments.folder)
    with to_write(folder):
        written = write_schemas(folder)
    screen.lines(f"  {path.as_posix()}" for path in written)
    screen.lines(report.next_step(f"{PROGRAM} check playbook.yml"))
    return ExitCode.CONVERGED
