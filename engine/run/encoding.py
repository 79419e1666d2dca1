"""Plain values as canonical JSON and back: what a journal body, a digest and a saved plan are written in.

`decode(encode(value)) == value` for every State: a datetime is {"$time": "…+00:00"}, a tuple is a list (and
comes back as a tuple), a key that begins with "$" gets a second one. The same value gives the same text.
"""

from __future__ import annotations

import json
import json.encoder
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode(body: Any) -> str:
    """Canonical JSON in ASCII, keys sorted. TypeError, without the value, for anything that is not plain."""
    text = _encode(body)
    # Only a body that holds a time or an odd key pays for a walk of its own.
    return _encode(_escaped(body)) if '"$' in text else text


def decode(text: str) -> Any:
    """What `encode` was given. ValueError when it is not such a text."""
    value = json.loads(text)
    return _restored(value) if "[" in text or '"$' in text else value


def canonical(default: Callable[[Any], Any], *, ascii_only: bool = True) -> Callable[[Any], str]:
    """A writer of canonical JSON: keys sorted, no spaces, no NaN; `default` says what else stands for itself.

    A value that contains itself meets RecursionError.
    """
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=ascii_only,
                                check_circular=False, default=default).encode
    # JSONEncoder.encode makes this object anew for every value, which costs as much as writing a small one.
    text = json.encoder.encode_basestring_ascii if ascii_only else json.encoder.encode_basestring
    write = make(None, default, text, None, ":", ",", True, False, False)
    return lambda value: "".join(write(value, 0))


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, UTC. TypeError for a time without a zone."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    """The inverse of `microseconds`, in UTC."""
    return _EPOCH + timedelta(microseconds=count)


def _default(value: object) -> object:
    if isinstance(value, datetime):
        return {"$time": _iso(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be written down")


def _iso(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise TypeError("a time without a zone cannot be written down")
    return moment.astimezone(UTC).isoformat()


def _escaped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {f"${name}" if name.startswith("$") else name: _escaped(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_escaped(each) for each in value]
    return {"$time": _iso(value)} if isinstance(value, datetime) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1 and "$time" in value:
            return datetime.fromisoformat(value["$time"])
        return {name[1:] if name.startswith("$$") else name: _restored(each) for name, each in value.items()}
    if isinstance(value, list):
        return tuple(_restored(each) for each in value)
    return value


_encode = canonical(_default)
