"""What of a state may be seen and kept (G3 of the safety notes): a field that its module calls public.

A text, a list or a mapping may be anything, a password as well. So it is hidden from plan, report, screen and journal
until the module's `public` names its field; who adds a field and forgets it sees the field hidden, and nobody a secret.
Numbers, times and truth values are shown: none of them is a secret. Inside a run the engine compares the true values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from engine.contract import Change, Plain, State
from engine.modules.base import Module

HIDDEN = "«hidden: not called public»"


def shown(module: type[Module], name: str, value: Plain) -> Plain:
    """The value, or HIDDEN in its place."""
    plain = value is None or isinstance(value, (bool, int, float, datetime))
    return value if plain or name in module.public else HIDDEN


def shown_state(module: type[Module], state: State | None) -> State | None:
    """As `shown`, of every field."""
    if state is None or state.keys() <= module.public:
        return state
    return {name: shown(module, name, value) for name, value in state.items()}


def shown_changes(module: type[Module], changes: Iterable[Change]) -> tuple[Change, ...]:
    """As `shown`, before and after."""
    return tuple(Change(each.field, shown(module, each.field, each.before), shown(module, each.field, each.after))
                 for each in changes)


def kept(module: type[Module], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of a record as the journal may have it: its states and changes as `shown`."""
    hidden = dict(body)
    for name in ("state", "before"):
        if name in hidden:
            hidden[name] = shown_state(module, hidden[name])
    if "changes" in hidden:
        hidden["changes"] = [[field, shown(module, field, before), shown(module, field, after)]
                             for field, before, after in hidden["changes"]]
    return hidden


def known(state: State | None) -> State | None:
    """A state from the journal without what was hidden there: nobody knows it any more."""
    if state is None or HIDDEN not in state.values():
        return state
    return {name: value for name, value in state.items() if value != HIDDEN}
