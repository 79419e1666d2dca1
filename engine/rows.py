"""The commands about rows and variables: `inventory list`, `inventory import`, `inventory split`, `vars`."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from engine import app, report
from engine.arguments import did_you_mean, to_write
from engine.connections.batch_csv import ROWS_MAX
from engine.contract import ExitCode, Fault, Invalid, Plain, Problem, Refusal, Rows
from engine.screen import Screen
from engine.world import World, write_whole

if TYPE_CHECKING:
    from engine.language.inventory import Inventory
    from engine.language.resolve import Origin

Again = Callable[..., str]

PAIRS_SHOWN_MAX = 20


def inventory(arguments: Namespace, place: app.Place, screen: Screen, world: World, again: Again) -> int:
    """`inventory list | import | split`."""
    return {"list": _list, "import": _import, "split": _split}[arguments.what](arguments, place, screen, world, again)


def _list(arguments: Namespace, place: app.Place, screen: Screen, world: World, again: Again) -> int:
    from engine.language import inventory as inventories

    rows = inventories.load(place.inventory)
    kinds = [kind for kind in rows.kinds() if rows.keys(kind)]
    if arguments.kind and arguments.kind not in rows.kinds():
        raise Refusal(ExitCode.USAGE, Problem(
            "unknown kind", found=f'There are no rows of the kind "{arguments.kind}".',
            remedy=did_you_mean(arguments.kind, rows.kinds()) or f"Kinds: {', '.join(kinds)}."))
    if arguments.json:
        for kind in [arguments.kind] if arguments.kind else kinds:
            for key in rows.keys(kind):
                screen.json({"kind": kind, "row": key, **rows.fields(kind, key)})
        return ExitCode.CONVERGED
    if arguments.kind:
        screen.lines(rows.keys(arguments.kind))
    else:
        screen.lines(report.table([[kind, str(len(rows.keys(kind))), report.shorten(
            ", ".join(rows.keys(kind)[:4]), 70)] for kind in kinds]))
    screen.lines(report.next_step(again("plan")))
    return ExitCode.CONVERGED


def _import(arguments: Namespace, place: app.Place, screen: Screen, world: World, again: Again) -> int:
    """The source's rows of Active Directory beside those of the inventory; written only when asked to."""
    from engine import importing
    from engine.connections import Site

    narrowed = importing.narrowing(arguments)
    found = _as_far_as_it_goes(place.inventory)
    site = Site(found.connections, found.settings, world)
    try:
        survey = site.directory.survey(narrowed)
        fresh = importing.rows_of(survey, importing.item_counts(site, survey) if arguments.items else {})
    finally:
        site.close()
    files: list[tuple[Path, str]] = []
    said: list[str] = []
    for kind in arguments.kinds or importing.USUAL:
        table = found.tables[kind]
        whole = not (narrowed and kind == "mailboxes")
        if table.file == str(place.inventory):
            there = [{name: report.value(cell) for name, cell in found.fields(kind, key).items() if cell is not None}
                     for key in found.keys(kind)]
            lines = list(importing.as_lines(importing.merged(kind, [], there, fresh[kind], whole=whole)))
            said += [f"{place.inventory.name}: put under rows: {kind}:", *lines] if lines else []
            continue
        path = Path(table.file) if table.file else place.inventory.with_name(f"{kind}.csv")
        columns, rows, end = importing.read(path)
        merged = importing.merged(kind, columns, rows, fresh[kind], whole=whole)
        if merged.rows:
            said += importing.shown(merged, path.name, every=arguments.diff)
            if not table.written:
                said.append(f"  Put this under rows: in the inventory:  {kind}: {path.name}")
        if merged.differs:
            files.append((path, importing.text(merged, end)))
    screen.lines(said)
    if arguments.write:
        for path, text in files:
            with to_write(path):
                write_whole(path, text.encode(), 0o644)
    if survey.left_out:
        screen.lines(report.wrap(f"Left out: {len(survey.left_out):,} objects with an address that do not move "
                                 "(the system's own mailboxes, public folders, dynamic groups)."))
    screen.line(f"Written: {', '.join(path.name for path, _ in files) or 'nothing'}." if arguments.write
                else "Nothing was written.")
    screen.lines(report.next_step(again("check") if arguments.write else again("inventory", "import", "--write")))
    return ExitCode.CONVERGED


def _as_far_as_it_goes(path: Path) -> Inventory:
    """The inventory, whose rows may still be missing. Raises Invalid for what is wrong in the inventory itself."""
    from engine.language import inventory as inventories

    found, problems = inventories.examine(path)
    own = [problem for problem in problems if problem.severity == "error" and problem.mark is not None
           and problem.mark.file == str(path) and problem.summary != "file cannot be read"]
    if found is None or own:
        raise Invalid(own or problems)
    return found


def _split(arguments: Namespace, place: app.Place, screen: Screen, world: World, again: Again) -> int:
    """Batches for mailboxes that have none, as Microsoft's CSV; those that have one keep it (sticky)."""
    from engine.language import inventory as inventories

    if not 1 <= arguments.size <= ROWS_MAX:
        raise Refusal(ExitCode.USAGE, Problem("the command line cannot be understood", found=(
            f"--size {arguments.size} is not 1 to {ROWS_MAX}: a batch takes at most {ROWS_MAX:,} rows (S-20).")))
    found = inventories.load(place.inventory)
    made = split(found, arguments.size, arguments.prefix)
    folder = place.inventory.parent / "batches"
    with to_write(folder):
        folder.mkdir(exist_ok=True)
    files = {batch: as_csv(["EmailAddress"], ([address] for address in addresses)).encode()
             for batch, addresses in made.items()}
    there = next((batch for batch in files if (folder / f"{batch}.csv").exists()), None)
    if there:
        raise Refusal(ExitCode.USAGE, Problem(
            "the file is there already", found=f"{folder / f'{there}.csv'} was left as it is; nothing was written.",
            remedy="Name other batches with --prefix."))
    for batch, content in files.items():
        with to_write(folder / f"{batch}.csv"):
            write_whole(folder / f"{batch}.csv", content, 0o644)
        screen.line(f"  - {{batch: {batch}, csv: batches/{batch}.csv}}   # {len(made[batch]):,} mailboxes, sha256 "
                    f"{sha256(content).hexdigest()[:12]}")
    screen.line("Put these lines under rows: batches: in the inventory." if made else "Every mailbox has a batch.")
    if made:
        screen.lines(_parted(found, made, world))
    screen.lines(report.next_step(again("check")))
    return ExitCode.CONVERGED


def convert(arguments: Namespace, place: Callable[[], app.Place], screen: Screen, world: World) -> int:
    """`inventory convert`. The inventory is looked for, and read, only where primary addresses are asked for."""
    from engine import lists

    primary: dict[str, str] = {}
    if arguments.primary:
        from engine.language import inventory as inventories

        found, _ = inventories.examine(place().inventory)  # its own lists may be what is to be mended
        keys = found.keys("mailboxes") if found is not None else ()
        primary = lists.primary_addresses(keys, [_further(found.fields("mailboxes", key)) for key in keys] if found
                                          is not None else ())
    return lists.convert(arguments, primary, screen, world)


def _further(fields: Mapping[str, Plain]) -> list[str]:
    aliases = fields.get("aliases")
    return [str(each) for each in aliases] if isinstance(aliases, tuple) else []


def split(rows: Rows, size: int, prefix: str) -> dict[str, list[str]]:
    """New batches of at most `size`, numbered after those there are; inventory order is kept.

    The same rows give the same parts; numbers have the same width, so that names sort as they were made (S-02).
    """
    free = [key for key in rows.keys("mailboxes") if not rows.fields("mailboxes", key).get("batch")]
    taken = set(rows.keys("batches"))
    parts = -(-len(free) // size)
    width = max(2, len(str(parts + len(taken))))
    names = (f"{prefix}{number:0{width}}" for number in range(1, parts + len(taken) + 2))
    unused = (name for name in names if name not in taken)
    return {next(unused): free[start:start + size] for start in range(0, len(free), size)}


def _parted(rows: Inventory, made: Mapping[str, Sequence[str]], world: World) -> Iterator[str]:
    """Which delegates the parts tear from their mailboxes: until both have moved, neither opens the other's (S-02)."""
    from engine.connections import Site

    batch_of = {key: str(rows.fields("mailboxes", key).get("batch") or "") for key in rows.keys("mailboxes")}
    batch_of.update((address, batch) for batch, addresses in made.items() for address in addresses)
    new = {address for addresses in made.values() for address in addresses}
    site = Site(rows.connections, rows.settings, world)
    try:
        pairs = sorted({(owner, delegate) for owner, delegates in site.directory.delegates().items()
                        for delegate in delegates
                        if {owner, delegate} & new and owner in batch_of and delegate in batch_of
                        and batch_of[owner] != batch_of[delegate]})
    except Fault as fault:
        yield from report.wrap(f"warning: which mailboxes have delegates could not be told ({fault}).")
        return
    finally:
        site.close()
    if pairs:
        number = f"{len(pairs):,} delegate pair{'' if len(pairs) == 1 else 's'}"
        yield ""
        yield from report.wrap(f"warning: {number} in different batches. Until both have moved, the delegate cannot "
                               "open the mailbox; put them into one batch, or tell them:")
        yield from (f"  {owner} ({batch_of[owner]}) and {delegate} ({batch_of[delegate]})"
                    for owner, delegate in pairs[:PAIRS_SHOWN_MAX])
        if len(pairs) > PAIRS_SHOWN_MAX:
            yield f"  … and {len(pairs) - PAIRS_SHOWN_MAX:,} more"


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Plain]]) -> str:
    """CSV with a header (RFC 4180). A cell that a spreadsheet would run as a formula is kept from running."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if cell is None else _inert(report.value(cell)) for cell in row])
    return out.getvalue()


#: What a spreadsheet takes for the beginning of a formula, or passes over before one; the full-width forms become
#: the narrow ones in some of them.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def _inert(cell: str) -> str:
    """An apostrophe before it: a spreadsheet shows the text, and a reader takes one apostrophe away."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


def variables(arguments: Namespace, place: app.Place, extra_vars: Mapping[str, str], screen: Screen, world: World,
              again: Again) -> int:
    """`vars`: each variable's value, and with `--explain` every level that sets it."""
    from engine.language import inventory as inventories
    from engine.language.resolve import explain_vars

    found = inventories.load(place.inventory)
    for name in arguments.names or sorted(found.vars):
        origins = explain_vars(place.playbook, found, name, extra_vars)
        if not origins:
            raise Refusal(ExitCode.USAGE, Problem("unknown variable", found=f'Nothing sets "{name}".',
                                                  remedy=did_you_mean(name, found.vars)))
        for said in _levels(origins) if arguments.explain else _values(origins):
            screen.line(f"{name} = {said}")
    screen.lines(report.next_step(again("check")))
    return ExitCode.CONVERGED


def _values(origins: Iterable[Origin]) -> list[str]:
    """The values that count; more than one only where plays differ."""
    return list(dict.fromkeys(each.value for each in origins if each.wins))


def _levels(origins: Iterable[Origin]) -> list[str]:
    """Every level that sets it, lowest first, and the plays for which it counts where not for all."""
    levels: dict[tuple[str, str, str, bool], list[str]] = {}
    for each in origins:
        levels.setdefault((each.value, each.level, str(each.mark or ""), each.wins), []).append(each.where)
    everywhere = {each.where for each in origins}
    return [f"{text}   ({level}{f', {mark}' if mark else ''}{'' if wins else '; not used'}"
            + (f"; in {', '.join(places)}" if set(places) != everywhere else "") + ")"
            for (text, level, mark, wins), places in levels.items()]
