"""Access lists of Active Directory and of mailboxes, read from their wire form (MS-DTYP, sections 2.4.2 to 2.4.6).

Only what a question about one right needs: who is allowed or denied what, in the order in which Windows decides. Access
lists are never written: a wrong one locks people out, and the shell does it better.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

#: Rights, as bits of a mask (MS-ADTS, section 5.1.3.2); FULL_ACCESS is a mailbox's own (fsdrightMailboxOwner).
FULL_ACCESS = 0x1
WRITE_PROPERTY = 0x20
CONTROL_ACCESS = 0x100
GENERIC_ALL = 0x1000_0000
GENERIC_WRITE = 0x4000_0000
#: The extended right Receive-As ("Receive-As extended right").
RECEIVE_AS = UUID("ab721a56-1e2f-11d0-9819-00aa0040529b")
#: schemaIDGUID of targetAddress, and the property set it lies in, Public Information ("ms-Exch-Target-Address
#: Attribute"; attributeSecurityGUID).
TARGET_ADDRESS = UUID("f0f8ff9f-1191-11d0-a060-00aa006c33ed")
PUBLIC_INFORMATION = UUID("e48d0154-bcf8-11d1-8702-00c04fb96050")

_PRESENT, _INHERIT_ONLY = 0x4, 0x8
_ALLOWED, _DENIED, _ALLOWED_OBJECT, _DENIED_OBJECT = 0, 1, 5, 6

#: unread: the list itself could not be seen, which is neither yes nor no.
Decision: TypeAlias = Literal["allowed", "denied", "unsaid", "unread"]


class Entry(NamedTuple):
    """One entry. `kind`: the property, property set or extended right it is about; None: all of them."""

    sid: str
    mask: int
    allows: bool
    kind: UUID | None = None


def entries(descriptor: bytes) -> tuple[Entry, ...] | None:
    """The entries that hold for the object itself, in order; None: there is no list, and so everything is allowed.

    Raises ValueError when the bytes are no security descriptor.
    """
    try:
        revision, _, control, _, _, _, place = struct.unpack_from("<BBHIIII", descriptor)
        if revision != 1:
            raise ValueError(f"revision {revision} of a security descriptor is not known")
        if not control & _PRESENT or not place:
            return None
        _, _, _, count, _ = struct.unpack_from("<BBHHH", descriptor, place)
        place += 8
        found = []
        for _ in range(count):
            kind, flags, size = struct.unpack_from("<BBH", descriptor, place)
            if size < 8 or place + size > len(descriptor):
                raise ValueError("a security descriptor is cut off")
            if not flags & _INHERIT_ONLY and kind in (_ALLOWED, _DENIED, _ALLOWED_OBJECT, _DENIED_OBJECT):
                found.append(_entry(descriptor[place:place + size], kind))
            place += size
    except (struct.error, IndexError):
        raise ValueError("a security descriptor is cut off") from None
    return tuple(found)


def decide(found: tuple[Entry, ...] | None, who: Collection[str], right: int,
           kinds: Collection[UUID] = ()) -> Decision:
    """What the list says of one right for somebody who is all of `who`: the first entry that speaks of it decides."""
    if found is None:
        return "allowed"
    for entry in found:
        if entry.sid in who and _covers(entry.mask, right) and (entry.kind is None or entry.kind in kinds):
            return "allowed" if entry.allows else "denied"
    return "unsaid"


def sid_text(value: bytes) -> str:
    """A security identifier as people write it, S-1-5-…. Raises ValueError."""
    try:
        count = value[1]
        parts = struct.unpack_from(f"<{count}I", value, 8)
    except (struct.error, IndexError):
        raise ValueError("a security identifier is cut off") from None
    return "-".join(map(str, ("S", value[0], int.from_bytes(value[2:8], "big"), *parts)))


def _covers(mask: int, right: int) -> bool:
    return bool(mask & (right | GENERIC_ALL)) or bool(right == WRITE_PROPERTY and mask & GENERIC_WRITE)


def _entry(data: bytes, kind: int) -> Entry:
    mask, place, about = struct.unpack_from("<I", data, 4)[0], 8, None
    if kind in (_ALLOWED_OBJECT, _DENIED_OBJECT):
        flags = struct.unpack_from("<I", data, 8)[0]
        place = 12
        if flags & 1:
            about, place = UUID(bytes_le=data[place:place + 16]), place + 16
        if flags & 2:  # for inherited copies: which class they are for
            place += 16
    return Entry(sid_text(data[place:]), mask, kind in (_ALLOWED, _ALLOWED_OBJECT), about)
