"""Real servers in the place of the lab's own doors, as the organisation file's `outside` names them.

They work by real time while the lab's clock stands still. Before time goes on they have come to rest – name servers
agree, mail queues are empty – and what has happened there is taken on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from engine.lab.organisation import Organisation

#: How long the lab's clock waits for real servers; then time goes on without them, as it would.
SETTLE_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.02


class OutsideServers:
    """connections: what an inventory says of them. Nothing is asked of what nobody has named."""

    def __init__(self, given: Mapping[str, Any], organisation: Organisation) -> None:
        self.connections: dict[str, Any] = {}
        self._follow: list[Callable[[], None]] = []
        self._settled: list[Callable[[], bool]] = []
        #: called before any request is handled: what the directory holds is looked at often, and by itself
        self.look: Callable[[], None] = lambda: None
        if "dns" in given:
            from engine.lab.outside_dns import OutsideZones

            zones = organisation.public_dns = OutsideZones(given["dns"])
            self.connections["dns"] = zones.connection
            self._settled.append(zones.settled)
        if "directory" in given:
            from engine.lab.outside_directory import OutsideDirectory

            directory = OutsideDirectory(given["directory"], organisation)
            self.connections["directory"] = directory.connection
            self.look = directory.follow
        for name, outside in (("smtp", True), ("source_smtp", False)):
            if name in given:
                from engine.lab.outside_mail import OutsideMail

                mail = OutsideMail(given[name], organisation, outside=outside)
                self.connections[name] = mail.connection
                self._settled.append(mail.settled)
                self._follow.append(mail.follow)

    def follow(self) -> None:
        """Take on what has happened there since."""
        for each in self._follow:
            each()

    async def settle(self) -> None:
        """Until all have come to rest, or SETTLE_SECONDS_MAX; then takes on what has happened."""
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLE_SECONDS_MAX
        while not all(each() for each in self._settled) and loop.time() < until:
            await asyncio.sleep(LOOK_SECONDS)
        self.follow()
