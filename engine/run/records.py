"""A record of the journal: as it is spoken of, as it lies on disk, and the digest that chains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

from engine.run.encoding import decode, from_microseconds

#: What stands before the first record.
NOTHING = bytes(16)


class Record(NamedTuple):
    """One thing that happened. `kind` and what `body` then holds: docs/events.md.

    task        label, "play / task"; "" for what concerns a whole run
    identity    16 bytes, the instance (kind, row, key, meaning, n); b"" where there is none
    at, seq     set by the journal: UTC, and the place in the chain, from 1
    fence       set by the journal: which holder wrote it; None for a person's word
    """

    kind: str
    task: str = ""
    row_kind: str = ""
    row: str = ""
    key: str = ""
    module: str = ""
    identity: bytes = b""
    body: Mapping[str, Any] = MappingProxyType({})
    at: datetime | None = None
    seq: int = 0
    fence: int | None = None


class Label(NamedTuple):
    """What many records share; kept once."""

    kind: str
    task: str
    row_kind: str
    module: str


class Row(NamedTuple):
    """A checked record as it lies on disk: `at` in microseconds since 1970 UTC, `body` still JSON."""

    seq: int
    at: int
    fence: int | None
    label: Label
    row: str
    key: str
    identity: bytes
    body: str

    def record(self) -> Record:
        label = self.label
        return Record(label.kind, label.task, label.row_kind, self.row, self.key, label.module, self.identity,
                      decode(self.body), from_microseconds(self.at), self.seq, self.fence)


def digest(before: bytes, seq: int, at: int, fence: int | None, label: str, row: str, key: str,
           identity: bytes, body: str) -> bytes:
    """BLAKE2b-16 of one record; `label` is the label's own JSON text."""
    # lengths first, and labels are JSON without line feeds: no two different rows give the same bytes
    text = f"{seq} {at} {fence} {len(row)} {len(key)} {identity.hex()}\n{label}\n{row}{key}{body}"
    return blake2b(before + text.encode(), digest_size=16).digest()


def tokens_digest(tokens: Iterable[bytes]) -> str:
    """What a `consented` record says of its tokens, in sorted order."""
    total = blake2b(digest_size=16)
    for token in tokens:
        total.update(len(token).to_bytes(4, "big") + token)
    return total.hexdigest()
