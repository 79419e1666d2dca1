"""Initial passwords for people whose list names none (S-12): made here, handed over in a file of their own."""

from __future__ import annotations

from collections.abc import Callable

from engine.connections.batch_csv import PASSWORD_KINDS_MIN, password_kinds
from engine.connections.redaction import remember

#: Nothing that is taken for another when it is read out: no 0 and O, no 1, l and I.
SIGNS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
GROUPS, GROUP = 4, 4


def made(unguessable: Callable[[int], bytes], whose: str) -> str:
    """Sixteen drawn signs in groups, as in kd7m-Xw9p-Rt4h-Bq6z: 93 bits, and three of the four kinds of signs at least.

    `unguessable` gives so many bytes, each as likely as any other.
    """
    while True:
        drawn = ""
        while len(drawn) < GROUPS * GROUP:
            # of 256 values those beyond the last whole round would make the first signs likelier
            drawn += "".join(SIGNS[each % len(SIGNS)] for each in unguessable(GROUPS * GROUP)
                             if each < 256 // len(SIGNS) * len(SIGNS))
        found = "-".join(drawn[start:start + GROUP] for start in range(0, GROUPS * GROUP, GROUP))
        if password_kinds(found.replace("-", "")) >= PASSWORD_KINDS_MIN:
            remember(found, f"initial password of {whose}")
            return found
