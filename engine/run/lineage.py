"""What came after what: which key was begun last and by whom, and what has been built upon a row since.

The journal alone answers both, so an edited or shortened playbook cannot change what has already happened.
"""

from __future__ import annotations

from collections.abc import Collection

#: Event kinds by which a task has begun on a thing.
BEGUN = frozenset({"intent", "settled"})


class Lineage:
    """Kept current with `enter`, one record at a time, in journal order."""

    def __init__(self, shared_families: Collection[str]) -> None:
        self._shared = frozenset(shared_families)
        #: key → (sequence number, identity) of the latest that began on it; only families several tasks share
        self._keys: dict[tuple[str, str, str], tuple[int, bytes]] = {}
        self._rows: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._kinds: dict[str, int] = {}

    def enter(self, seq: int, kind: str, row_kind: str, row: str, key: str, identity: bytes) -> None:
        """Take in a record by its fields."""
        if kind not in BEGUN:
            return
        self._rows[row_kind, row] = latest = (seq, identity)
        self._kinds[row_kind] = seq
        if key.partition("/")[0] in self._shared:
            self._keys[row_kind, row, key] = latest

    def known(self, row_kind: str, row: str, key: str) -> bool:
        """Whether anything has ever begun on the thing."""
        return (row_kind, row, key) in self._keys

    def superseded(self, row_kind: str, row: str, key: str, identity: bytes, settled_seq: int) -> bool:
        """Another task began on the same thing after this one had settled."""
        latest = self._keys.get((row_kind, row, key))
        return latest is not None and latest[1] != identity and latest[0] > settled_seq

    def row_went_on(self, row_kind: str, row: str, identity: bytes, settled_seq: int) -> bool:
        """Another task of the same row began after this one had settled."""
        latest = self._rows.get((row_kind, row))
        return latest is not None and latest[1] != identity and latest[0] > settled_seq

    def kind_went_on(self, row_kind: str, settled_seq: int) -> bool:
        """A task of that kind of rows began after this one had settled."""
        return self._kinds.get(row_kind, 0) > settled_seq
