"""The migration service's known errors as a person reads them: `mailmove doc errors`, docs/errors.md."""

from __future__ import annotations

from collections.abc import Iterator

from engine.connections.service_errors import KNOWN, UNCLASSIFIED, ServiceError
from engine.report import shorten, table, wrap

#: What each verdict tells a person to do first.
ACTIONS = {"retry": "starting it again may help without a change; mailmove does so by itself, three times",
           "fix first": "only after a person has changed something, then `mailmove retry`",
           "wait": "the service goes on by itself",
           "skip": "accept it, or repair it at the source; it holds nothing up"}


def ordered() -> list[ServiceError]:
    return sorted(KNOWN, key=lambda known: known.id)


def find(name: str) -> ServiceError | None:
    """The error of that id, in any case; None for no such id."""
    return next((known for known in KNOWN if known.id == name.upper()), None)


def text() -> Iterator[str]:
    """All of them, a line each."""
    yield from table([[known.id, known.action, shorten(known.cause, 74)] for known in ordered()])


def one(known: ServiceError) -> Iterator[str]:
    """One of them, whole."""
    yield from wrap(str(known))
    yield ""
    yield from wrap(f"{known.action}: {ACTIONS[known.action]}")
    yield from wrap(f"To do: {known.remedy}")
    yield from wrap(f"Source: {known.source}")


def markdown() -> Iterator[str]:
    """The page docs/errors.md."""
    yield "# Errors of the migration service"
    yield ""
    yield ("Written from the code by `make docs`; do not edit. At a terminal: `mailmove doc errors`, "
           "`mailmove doc E05`; what stands in a migration now: `mailmove failures`.")
    yield ""
    for action, meaning in ACTIONS.items():
        yield f"- **{action}**: {meaning}"
    yield ""
    yield (f"The service's own words are always kept whole. What no pattern knows is called *{UNCLASSIFIED.id}* and "
           f"treated as *{UNCLASSIFIED.action}*. Texts are matched by their stable parts or by an exception's class; "
           "which of them were read on a page and which are inferred: [lab.md](lab.md).")
    yield ""
    yield "| error | helps | cause | what to do | source |"
    yield "| --- | --- | --- | --- | --- |"
    for known in ordered():
        yield "| " + " | ".join((known.id, known.action, known.cause, known.remedy, known.source)) + " |"
