"""Access lists read from bytes that other code has written (engine.lab.security, by MS-DTYP), and from broken ones."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest

from engine.connections.access_lists import (
    CONTROL_ACCESS,
    FULL_ACCESS,
    RECEIVE_AS,
    TARGET_ADDRESS,
    WRITE_PROPERTY,
    decide,
    entries,
    sid_text,
)
from engine.lab.security import FULL_CONTROL, Ace, descriptor, sid_bytes

ME, MY_GROUP, OTHER = "S-1-5-21-1-2-3-1104", "S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-9999"
WHO = frozenset({ME, MY_GROUP})


def said(right: int, *aces: Ace, kinds: tuple[UUID, ...] = ()) -> str:
    return decide(entries(descriptor(aces)), WHO, right, kinds)


@pytest.mark.requirement("B-07", "B-08", "S-04")
def test_what_an_access_list_says_of_one_right() -> None:
    assert sid_text(sid_bytes(ME)) == ME
    assert said(FULL_ACCESS, Ace(ME, FULL_ACCESS)) == "allowed"
    assert said(FULL_ACCESS, Ace(MY_GROUP, FULL_ACCESS)) == "allowed"
    assert said(FULL_ACCESS, Ace(OTHER, FULL_ACCESS)) == "unsaid"
    assert said(FULL_ACCESS, Ace(ME, FULL_ACCESS), Ace(MY_GROUP, FULL_ACCESS, deny=True)) == "denied"
    # What is set on the object itself goes before what it inherits, be it a refusal.
    assert said(FULL_ACCESS, Ace(ME, FULL_ACCESS), Ace(MY_GROUP, FULL_ACCESS, deny=True, inherited=True)) == "allowed"
    assert said(CONTROL_ACCESS, Ace(ME, CONTROL_ACCESS, RECEIVE_AS), kinds=(RECEIVE_AS,)) == "allowed"
    send_as = UUID("ab721a54-1e2f-11d0-9819-00aa0040529b")
    assert said(CONTROL_ACCESS, Ace(ME, CONTROL_ACCESS, send_as), kinds=(RECEIVE_AS,)) == "unsaid"
    assert said(CONTROL_ACCESS, Ace(ME, CONTROL_ACCESS), kinds=(RECEIVE_AS,)) == "allowed"  # all extended rights
    assert said(WRITE_PROPERTY, Ace(ME, FULL_CONTROL), kinds=(TARGET_ADDRESS,)) == "allowed"
    assert said(WRITE_PROPERTY, Ace(ME, 0x1000_0000), kinds=(TARGET_ADDRESS,)) == "allowed"  # generic: all


def test_an_entry_for_what_lies_below_does_not_hold_here_and_no_list_is_no_bar() -> None:
    whole = bytearray(descriptor([Ace(ME, FULL_ACCESS)]))
    place = struct.unpack_from("<I", whole, 16)[0] + 8
    whole[place + 1] |= 0x8  # inherit only
    assert entries(bytes(whole)) == ()
    none = struct.pack("<BBHIIII", 1, 0, 0x8000, 0, 0, 0, 0)
    assert entries(none) is None and decide(entries(none), WHO, FULL_ACCESS) == "allowed"


def test_bytes_that_are_cut_off_or_no_descriptor_are_refused_and_never_read_as_empty() -> None:
    whole = descriptor([Ace(ME, FULL_ACCESS), Ace(ME, CONTROL_ACCESS, RECEIVE_AS)])
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="cut off"):
            entries(whole[:length])
    with pytest.raises(ValueError, match="revision 7"):
        entries(b"\x07" + whole[1:])
