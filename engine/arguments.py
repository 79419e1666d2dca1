"""The command line's words: commands, options, and what a mistyped one was probably meant to be."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from engine.contract import ExitCode, Problem, Refusal

PROGRAM = "mailmove"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean "plan"?`, or the empty text when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'Did you mean "{near[0]}"?' if near else ""


def as_typed(words: Iterable[str]) -> str:
    """The words as a shell takes them; a text with an apostrophe stands in double quotes, where that is safe."""
    return " ".join(f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)
                    for word in words)


@contextmanager
def to_write(path: Path) -> Iterator[None]:
    """While a file or folder that the user named is written. Raises Refusal (exit 2) when the system says no."""
    try:
        yield
    except OSError as error:
        raise Refusal(ExitCode.USAGE, Problem(
            "it cannot be written", found=f"{path}: {error.strerror or error}.",
            remedy="Name a place where you may write.")) from None


class HelpAsked(Exception):
    """`--help`: its text is printed where all text is."""


class Help(argparse.HelpFormatter):
    """argparse's help, where the longest name of a command stands on the line of its text."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action.choices, dict):
            self._action_max_length = max(self._action_max_length, 4 + max(map(len, action.choices)))


class Parser(argparse.ArgumentParser):
    """argparse that raises a Refusal (exit 2) with the word that was probably meant, instead of exiting."""

    def __init__(self, **settings: Any) -> None:
        # One width for every terminal, so that help is the same text in a transcript, a page and an issue.
        super().__init__(**settings, formatter_class=lambda prog: Help(prog, max_help_position=26, width=100))

    def error(self, message: str) -> NoReturn:
        remedy = ""
        if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            remedy = did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
            what = "command" if "argument COMMAND" in message else message.split(":")[0].removeprefix("argument ")
            message = f'unknown {what} "{choice[1]}"'
        raise Refusal(ExitCode.USAGE, Problem(
            "the command line cannot be understood", found=message + ".", remedy=remedy,
            next_command=f"{self.prog} --help"))

    def print_help(self, file: object = None) -> None:
        raise HelpAsked(self.format_help())

    def options(self) -> list[str]:
        return list(self._option_string_actions)


#: Kinds of rows that Active Directory knows.
IMPORTED = ("mailboxes", "recipients", "groups", "domains", "servers", "databases")
#: The folder one works in: its playbook.yml and inventory.yml are meant when none is named.
HERE = "."


def _subject(parser: Parser, what: str = "a playbook, or the folder that holds playbook.yml (default: here)") -> None:
    """The playbook as a command's own argument; other commands name it by `-p`."""
    parser.add_argument("playbook", metavar="PLAYBOOK", nargs="?", default=HERE, help=what)


def _files(parser: Parser) -> None:
    group = parser.add_argument_group("where things are")
    if not any(action.dest in ("playbook", "files") for action in parser._actions):
        group.add_argument("-p", "--playbook", metavar="FILE", default=HERE,
                           help="the playbook, or the folder that holds playbook.yml (default: here)")
    group.add_argument("-i", "--inventory", metavar="FILE",
                       help="the inventory (default: inventory.yml beside the playbook)")
    group.add_argument("--state", metavar="DIR",
                       help="folder of all journals (default: $MAILMOVE_STATE, else the user's state folder)")
    group.add_argument("-e", "--extra-vars", metavar="NAME=VALUE", action="append", default=[],
                       help="a variable that goes before all others; may be repeated")


def _selection(parser: Parser) -> None:
    group = parser.add_argument_group("a part of it")
    group.add_argument("--limit", metavar="ROWS", action="append", default=[],
                       help="only these rows and what is related to them, separated by commas")
    group.add_argument("--tags", metavar="TAGS", action="append", default=[], help="only tasks with one of these tags")
    group.add_argument("--skip-tags", metavar="TAGS", action="append", default=[], help="not the tasks with these tags")


def _person(parser: Parser) -> None:
    group = parser.add_argument_group("who says so")
    group.add_argument("--by", metavar="NAME", help="who decides (default: the signed-in user)")
    group.add_argument("--reason", metavar="TEXT", default="", help="why; kept in the journal")


def _json(parser: Parser, text: str = "machine-readable output") -> None:
    parser.add_argument("--json", action="store_true", help=text)


def parser() -> tuple[Parser, dict[str, Parser]]:
    """The whole command line, and each command's own parser by name."""
    top = Parser(prog=PROGRAM, allow_abbrev=False, add_help=True, description=(
        "Moves an organisation's mail from on-premises Exchange to Microsoft 365 by cutover or staged migration."))
    top.add_argument("--version", action="store_true", help="print the version and end")
    commands: dict[str, Parser] = {}
    sub = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def add(name: str, text: str) -> Parser:
        commands[name] = sub.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".",
                                        allow_abbrev=False)
        return commands[name]

    each = add("init", "make a migration folder with the dozen answers to fill in")
    each.add_argument("folder", metavar="DIR")
    each.add_argument("--type", choices=["cutover", "staged"], required=True)

    each = add("check", "find all that can be found wrong without contacting anything")
    each.add_argument("files", metavar="FILE", nargs="*", default=[HERE],
                      help="playbooks, inventories, or batch CSV files (default: playbook.yml here)")
    each.add_argument("--graph", action="store_true", help="say each dependency in words")
    _files(each)

    each = add("doctor", "look at connections, rights, clock and versions")
    _files(each)
    _json(each)

    each = add("plan", "show what apply would do; changes nothing")
    _subject(each)
    _plan_options(each)
    each.add_argument("--out", metavar="FILE", help="keep the plan; apply takes the file in place of the playbook")

    each = add("apply", "carry the migration out, or go on with it")
    _subject(each, "a playbook, its folder, or a plan kept by plan --out")
    _plan_options(each)
    each.add_argument("--check", action="store_true", help="the same as plan")
    each.add_argument("--yes", action="store_true", help="consent to everything the preview shows")
    each.add_argument("--wait", action="store_true", help="stay and wait for time and people instead of ending")
    _person(each)

    each = add("status", "say where the migration stands; contacts nothing")
    _files(each)
    _json(each)
    each.add_argument("--csv", action="store_true", help="one line a row, for a spreadsheet")

    each = add("why", "say why a row does or does not move")
    each.add_argument("row", metavar="ROW")
    each.add_argument("task", metavar="TASK", nargs="?")
    _files(each)
    _json(each)

    each = add("history", "say what happened, oldest first")
    each.add_argument("row", metavar="ROW", nargs="?")
    _files(each)
    _json(each, "one event a line")

    each = add("failures", "say which mailboxes the service fails or copies in part, why, and what to do")
    each.add_argument("rows", metavar="ADDRESS", nargs="*", default=[], help="these mailboxes only")
    each.add_argument("--out", metavar="DIR", help="keep every report whole: failures.csv and failures.json")
    _files(each)
    _json(each, "one mailbox a line")

    each = add("report", "write the dossier of the migration")
    each.add_argument("--html", metavar="FILE", required=True)
    _files(each)

    for name, text in (("approve", "answer a go or no-go with go"),
                       ("waive", "let rows go on without a task"),
                       ("retry", "try failed rows again"),
                       ("resolve", "say what a person has done or seen"),
                       ("override", "lift one guard, for one act, for one hour")):
        each = add(name, text)
        each.add_argument("task", metavar="GUARD" if name == "override" else "TASK",
                          help="the guard's name" if name == "override" else "a task's name or id")
        each.add_argument("rows", metavar="ROW", nargs="*", default=[],
                          help="the rows meant" + (" (default: all that ask)" if name != "override" else ""))
        if name == "approve":
            each.add_argument("--typed", metavar="NAME", help="the name the question wants to see typed")
        if name == "waive":
            each.add_argument("--with-followers", action="store_true",
                              help="and what these rows cannot do without its values")
        if name == "resolve":
            how = each.add_mutually_exclusive_group(required=True)
            how.add_argument("--done", action="store_true", help="it is done")
            how.add_argument("--redo", action="store_true", help="it is not done and may be done again")
            each.add_argument("--evidence", metavar="TEXT", default="", help="what was seen, where it is kept")
        _person(each)
        _files(each)
        _json(each)

    for name, text in (("hold", "touch nothing any more: these rows, or everything"),
                       ("release", "take a hold back")):
        each = add(name, text)
        each.add_argument("rows", metavar="ROW", nargs="*", default=[], help="the rows meant (default: everything)")
        _person(each)
        _files(each)
        _json(each)

    each = add("undo", "take back what was done to rows, newest first, and put them on hold")
    each.add_argument("rows", metavar="ROW", nargs="*", default=[], help="the rows meant")
    each.add_argument("--task", metavar="TASK",
                      help="back to and with this task; without rows, of every row it has")
    each.add_argument("--plan", action="store_true", help="show what comes back and what does not; changes nothing")
    each.add_argument("--yes", action="store_true", help="consent to everything the preview shows")
    each.add_argument("--wait", action="store_true", help="stay until all of it shows, instead of ending")
    each.add_argument("--over-changes", action="store_true", help="also what somebody has changed since")
    _person(each)
    _files(each)
    _json(each)

    each = add("adopt", "take over what a migration begun by hand has left: domains, endpoint, batches")
    each.add_argument("--plan", action="store_true", help="show what stands already; writes nothing")
    each.add_argument("--yes", action="store_true", help="consent to all that is shown")
    _person(each)
    _files(each)
    _json(each)

    each = add("rehearse", "the whole migration against a simulated organisation, weeks in seconds")
    _subject(each)
    _files(each)
    each.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed tells the same story (1)")
    each.add_argument("--faults", choices=["none", "light", "heavy"], default="none")
    each.add_argument("--kill-at", metavar="N[:WHEN]", action="append", default=[],
                      help="kill the engine at its N-th request; WHEN is before, after or answered; may be repeated")
    each.add_argument("--keep", metavar="DIR", help="keep journal, exports and the engine's output here")
    _json(each, "the result as one JSON value")

    each = add("inventory", "list, import or split rows; convert a batch's list")
    kinds = each.add_subparsers(dest="what", metavar="WHAT", required=True, parser_class=Parser)
    listing = kinds.add_parser("list", help="the rows of an inventory", allow_abbrev=False)
    listing.add_argument("--kind", metavar="KIND")
    _files(listing)
    _json(listing)
    importing = kinds.add_parser("import", help="compare the rows with the source's Active Directory",
                                 allow_abbrev=False)
    importing.add_argument("kinds", metavar="KIND", nargs="*", choices=[*IMPORTED, []],
                           help=f"{', '.join(IMPORTED)} (default: all but databases)")
    importing.add_argument("--write", action="store_true", help="write the files; without it they are only compared")
    importing.add_argument("--diff", action="store_true", help="every row that differs, not only the first of them")
    importing.add_argument("--items", action="store_true",
                           help="count the items of mailboxes too, by the connection ews: a call for each")
    group = importing.add_argument_group("a part of the mailboxes")
    for name, what, text in (("ou", "DN", "below this organisational unit"),
                             ("filter", "LDAP", "that fit an LDAP filter, as in '(department=Sales)'"),
                             ("group", "ADDRESS", "in this group, or in a group of it"),
                             ("server", "HOST", "on this server"), ("database", "NAME", "in this database"),
                             ("exchange", "RELEASE", "on a server of this release: 2003, 2007 …")):
        group.add_argument(f"--{name}", metavar=what, help=text)
    _files(importing)
    split = kinds.add_parser("split", help="put mailboxes without a batch into batches", allow_abbrev=False)
    split.add_argument("--size", type=int, default=80, metavar="N", help="mailboxes in a batch at most (80)")
    split.add_argument("--prefix", default="Batch", metavar="NAME", help="batches are named NAME01, NAME02 …")
    _files(split)
    converting = kinds.add_parser("convert", help="write a batch's list anew in the service's form", allow_abbrev=False)
    converting.add_argument("file", metavar="LIST")
    converting.add_argument("--out", metavar="FILE", required=True, help="the new list; several if rows are too many")
    converting.add_argument("--code-page", metavar="NAME", help="what the old list is written in, as cp1252")
    converting.add_argument("--federated", metavar="DOMAINS", action="append", default=[],
                            help="ForceChangePassword becomes False here (single sign-on)")
    converting.add_argument("--primary", action="store_true", help="a further address becomes its mailbox's primary")
    converting.add_argument("--passwords", metavar="FILE",
                            help="make an initial password for each row without one, and write them here too")
    converting.add_argument("--mark", action="store_true", help="begin with a byte order mark, for Excel")
    _files(converting)
    commands["inventory list"], commands["inventory import"], commands["inventory split"] = listing, importing, split
    commands["inventory convert"] = converting

    each = add("vars", "say a variable's value and where it comes from")
    each.add_argument("names", metavar="NAME", nargs="*")
    each.add_argument("--explain", action="store_true", help="every level that sets it, not only the one that counts")
    _files(each)

    each = add("doc", "the reference of a task module, or of the migration service's errors")
    each.add_argument("module", metavar="MODULE", nargs="?", help="a module, `errors`, or one error as E05")
    each.add_argument("--markdown", action="store_true", help="all modules, or all errors, as one page")

    each = add("schema", "write the JSON Schemas of playbooks and inventories")
    each.add_argument("folder", metavar="DIR")

    each = add("journal", "look after the journal")
    acts = each.add_subparsers(dest="what", metavar="WHAT", required=True, parser_class=Parser)
    verify = acts.add_parser("verify", help="check every record's digest", allow_abbrev=False)
    _files(verify)
    salvage = acts.add_parser("salvage", help="go on with the sound part of a damaged journal; keeps the old file",
                              allow_abbrev=False)
    salvage.add_argument("--yes", action="store_true", help="consent to what is shown")
    _person(salvage)
    _files(salvage)
    commands["journal verify"], commands["journal salvage"] = verify, salvage
    return top, commands


def _plan_options(parser: Parser) -> None:
    parser.add_argument("--format", choices=["text", "json", "html"], default="text")
    parser.add_argument("--diff", action="store_true", help="every row's changes, not only the groups")
    parser.add_argument("--detailed-exitcode", action="store_true", help="end with 10 when changes are pending")
    _json(parser, "one event a line; for plan the same as --format json")
    _selection(parser)
    _files(parser)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments as values. Raises Refusal (exit 2) and, for `--help`, HelpAsked."""
    top, commands = parser()
    arguments, rest = top.parse_known_args(argv)
    if rest:
        name = arguments.command or ""
        own = commands.get(f"{name} {getattr(arguments, 'what', '')}".strip()) or commands.get(name) or top
        word = rest[0]
        what = "option" if word.startswith("-") else "argument"
        raise Refusal(ExitCode.USAGE, Problem(
            "the command line cannot be understood", found=f'{name or PROGRAM} has no {what} "{word}".',
            remedy=did_you_mean(word.split("=")[0], own.options()) if what == "option" else "",
            next_command=f"{own.prog} --help"))
    return arguments


def split_list(values: Sequence[str]) -> frozenset[str]:
    """`--tags a,b --tags c` as a set."""
    return frozenset(part.strip() for value in values for part in value.split(",") if part.strip())


def pairs(values: Sequence[str]) -> dict[str, str]:
    """`-e name=value` as a mapping. Raises Refusal (exit 2)."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            raise Refusal(ExitCode.USAGE, Problem(
                "the command line cannot be understood", found=f'--extra-vars "{value}" is not NAME=VALUE.',
                next_command=f"{PROGRAM} --help"))
        found[name.strip()] = text
    return found
