"""Security descriptors of the lab's directory, in self-relative form (MS-DTYP, sections 2.4.2 to 2.4.6).

Written here and read elsewhere by other code: what is wrong in one of the two shows in the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

FULL_ACCESS = 0x1  # of a mailbox (fsdrightMailboxOwner)
WRITE_PROPERTY = 0x20
CONTROL_ACCESS = 0x100
FULL_CONTROL = 0xF01FF
RECEIVE_AS = UUID("ab721a56-1e2f-11d0-9819-00aa0040529b")
#: schemaIDGUID of targetAddress ("ms-Exch-Target-Address Attribute")
TARGET_ADDRESS = UUID("f0f8ff9f-1191-11d0-a060-00aa006c33ed")

SYSTEM = "S-1-5-18"
SELF = "S-1-5-10"


class Ace(NamedTuple):
    """One entry of a list. `kind`: the property or extended right it is about."""

    sid: str
    mask: int
    kind: UUID | None = None
    deny: bool = False
    inherited: bool = False

    def encoded(self) -> bytes:
        sid = sid_bytes(self.sid)
        kind = struct.pack("<I", 1) + self.kind.bytes_le if self.kind else b""
        number = (5 if self.kind else 0) + (1 if self.deny else 0)
        flags = (0x10 if self.inherited else 0) | 0x2
        return struct.pack("<BBHI", number, flags, 8 + len(kind) + len(sid), self.mask) + kind + sid


def sid_bytes(text: str) -> bytes:
    """A SID as in `objectSid` (MS-DTYP, section 2.4.2.2)."""
    _, revision, authority, *parts = text.split("-")
    return bytes((int(revision), len(parts))) + int(authority).to_bytes(6, "big") + b"".join(
        struct.pack("<I", int(part)) for part in parts)


def descriptor(aces: Iterable[Ace], owner: str = SYSTEM) -> bytes:
    """Owner, no group, and the list in the order in which Windows keeps it: explicit before inherited, deny first."""
    ordered = sorted(aces, key=lambda each: (each.inherited, not each.deny))
    entries = b"".join(each.encoded() for each in ordered)
    acl = struct.pack("<BBHHH", 4, 0, 8 + len(entries), len(ordered), 0) + entries
    who = sid_bytes(owner)
    return struct.pack("<BBHIIII", 1, 0, 0x8004, 20, 0, 0, 20 + len(who)) + who + acl
