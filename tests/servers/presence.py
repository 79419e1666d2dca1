"""Which real servers this machine has, and what a test says that misses one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

import pytest

#: Where daemons live that an unprivileged PATH lacks.
DAEMONS = "/usr/sbin:/usr/local/sbin:/sbin"

#: server → what it is made of: programs, and whether only root can run it
PROGRAMS: dict[str, tuple[tuple[str, ...], bool]] = {
    "bind": (("named",), False),
    # no servers, but as little to be had from an index: they make single system calls fail, read units, show pages
    "strace": (("strace",), False),
    "systemd": (("systemd-analyze",), False),
    "chromium": (("chromium",), False),
    "powerdns": (("pdns_server",), False),
    "postfix": (("postfix", "saslpasswd2"), True),
    # Samba's LDAP ports cannot be chosen, and are below 1024.
    "samba": (("samba", "samba-tool"), True),
}


def program(name: str) -> str:
    """The path of a server's program. Skips the test (fails it in CI) when it is not there."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{DAEMONS}")
    if found is None:
        absent(f"{name} is not installed")
    return found


def missing(server: str) -> str:
    """Why this server cannot be met here; "" when it can."""
    programs, root = PROGRAMS[server]
    for name in programs:
        if shutil.which(name, path=f"{os.environ.get('PATH', '')}:{DAEMONS}") is None:
            return f"{name} is not installed (make servers)"
    return f"{server} needs root" if root and os.getuid() != 0 else ""


def absent(reason: str) -> None:
    """Locally a skip that says why; in CI a failure, so that no server goes missing unnoticed."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def demand(servers: Iterable[str]) -> None:
    """Called for every test before it runs, with the servers its markers name."""
    for server in servers:
        if reason := missing(server):
            absent(reason)
