"""A rehearsal organisation of any release, whose source can be unprepared on purpose, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.modules.accepted_domain import AcceptedDomain
from engine.modules.tenant_domain import TenantDomain
from tests.modules.lab_cloud import Lab, description


@contextmanager
def source(folder: Path, exchange: str, kind: str = "staged", **more: Any) -> Iterator[Lab]:
    """`more` goes into the organisation file: what is wrong with the source, further rows under `rows`."""
    told = description(kind)
    rows: Mapping[str, Any] = more.pop("rows", {})
    told |= {"exchange": exchange, **more}
    told["rows"] |= rows
    for server in told["rows"]["servers"]:
        server["exchange"] = exchange
    (folder / "organisation.json").write_text(json.dumps(told))
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.lab", "--organisation", str(folder / "organisation.json"),
         "--folder", str(folder / "lab"), "--seed", "3"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Lab(ready, {"tenant": told["tenant"], "type": kind, "exchange": exchange})
    finally:
        process.terminate()
        process.communicate(timeout=10)  # closes what we read its address from


def own(lab: Lab, *domains: str) -> None:
    """Make the domains verified and accepted, as the plays before these tests do."""
    for name in domains:
        lab.act(TenantDomain(domain=name, state="present"))
        known = lab.settled(TenantDomain(domain=name, state="present"), within=3600)
        assert known is not None
        lab.publish(name, str(known["verification_txt"]))
    lab.pass_time(3600)
    for name in domains:
        lab.act(TenantDomain(domain=name))
        lab.settled(TenantDomain(domain=name), within=7200)
    for name in domains:
        lab.settled(AcceptedDomain(domain=name), within=7200)
