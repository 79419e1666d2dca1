"""A real mail server in the place of one of the lab's doors: what it has taken goes on as from that door.

The organisation file: `outside: {smtp: {connection: …, maildir: …, queue: …}}`, and the same for `source_smtp`. The
server delivers everything into Maildirs below `maildir`; what is found there is routed as the lab's transport does it.
`queue` is Postfix' queue folder: while letters lie in it, they are on their way.
"""

from __future__ import annotations

from collections.abc import Mapping
from email import message_from_bytes
from pathlib import Path
from typing import Any

from engine.lab.mail import Transport
from engine.lab.organisation import Organisation

#: The queues of what is on its way; `deferred` is what waits for a long time.
QUEUES = ("maildrop", "incoming", "active")


class OutsideMail:
    """outside: a submission server of the world, routing by public MX; else the source's own."""

    def __init__(self, given: Mapping[str, Any], organisation: Organisation, *, outside: bool) -> None:
        self.connection = dict(given["connection"])
        self._maildir, self._queue = Path(given["maildir"]), Path(given["queue"])
        self._transport = Transport(organisation, outside=outside)

    def settled(self) -> bool:
        """Whether nothing is on its way."""
        return not any(path.is_file() for name in QUEUES for path in (self._queue / name).rglob("*"))

    def follow(self) -> None:
        """Take on what has been delivered since."""
        for path in sorted(self._maildir.rglob("new/*"), key=lambda each: each.stat().st_mtime_ns):
            content = path.read_bytes()
            headers = message_from_bytes(content)
            path.rename(path.parent.parent / "cur" / f"{path.name}:2,S")
            self._transport.message(str(headers["Return-Path"] or "").strip("<>"), [str(headers["Delivered-To"])],
                                    content)
