"""What a service answers, taken apart with care: an object of an unknown form is its fault, not a bug of ours."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from engine.contract import Rejected

P = ParamSpec("P")
T = TypeVar("T")


def shaped(connection: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorates what turns an outside object into ours: what it can make nothing of is Rejected (C7), not our bug.

    For conversions alone: a call that goes on to other things would hide its own mistakes behind it.
    """
    def decorate(make: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(make)
        def made(*values: P.args, **named: P.kwargs) -> T:
            try:
                return make(*values, **named)
            except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
                raise Rejected(connection, f"an object in the answer has a form that is not known ({make.__name__}: "
                               f"{type(error).__name__})", code="malformed") from None
        return made
    return decorate


def parts_of(data: Any) -> list[Mapping[str, Any]]:
    """The parts of a batch's answer; those that are none are left out, and so count as not answered."""
    parts = data.get("responses") if isinstance(data, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def status_of(part: Mapping[str, Any]) -> int:
    """The HTTP status of one part of a batch; 0 where it says none."""
    status = part.get("status")
    return status if isinstance(status, int) else int(status) if isinstance(status, str) and status.isdecimal() else 0
