"""Who may write: one holder at a time, known by a fence number that every append is checked against."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from engine.contract import Event, ExitCode, Listener, Problem, Refusal
from engine.world import World

#: A holder that was not heard of for so long may be replaced (safety promise B3).
LEASE = timedelta(seconds=90)
#: How often a holder says that it lives, seconds.
HEARTBEAT_SECONDS = 20.0
LEASE_MICROSECONDS = LEASE // timedelta(microseconds=1)


def holder(world: World) -> dict[str, str]:
    """How this process is named as the one that holds a migration."""
    return {"who": world.user, "host": world.host, "machine": world.machine, "pid": str(world.process_id),
            "since": world.clock.now().isoformat(timespec="seconds")}


def replaceable(old: Mapping[str, str], new: Mapping[str, str], beat: int, now: int) -> bool:
    """Whether `new` may follow `old`, last heard of at `beat`: the lease ran out, or its process is gone from
    this host. Both times in microseconds."""
    # two containers may have one name: their process numbers mean nothing to each other
    same_host = all(old.get(name) == new.get(name) for name in ("host", "machine"))
    return now >= beat + LEASE_MICROSECONDS or (same_host and _gone(old.get("pid", "")))


def announced(listener: Listener | None, world: World) -> Callable[[Mapping[str, str], datetime], None]:
    """What tells a run's listener (event `watching`) that it does not stand still for nothing."""
    def tell(held_by: Mapping[str, str], until: datetime) -> None:
        if listener is not None:
            listener(Event("watching", world.clock.now(), fields={"holder": dict(held_by), "until": until}))

    return tell


def locked(summary: str, holder: Mapping[str, str]) -> Refusal:
    """The refusal that tells the second one who holds the migration, where and since when."""
    who = "nobody holds it now"
    if holder:
        who = (f"{holder.get('who', 'somebody')} on {holder.get('host', 'an unknown host')}, process "
               f"{holder.get('pid', '?')}, since {holder.get('since', 'an unknown time')}")
    return Refusal(ExitCode.LOCKED, Problem(
        summary, found=who, next_command="mailmove status",
        remedy="Wait until it ends. If its process is gone, the lease runs out after 90 seconds."))


def _gone(pid: str) -> bool:
    if os.name == "nt" or not pid.isdecimal():
        return False  # os.kill(pid, 0) would end the process on Windows; there the lease has to run out
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
