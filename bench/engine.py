"""Cost of the engine per task instance: plan, and a run with three durable records each.

    python -m bench.engine            # 1,000 and 20,000 mailboxes × 12 tasks, one line of JSON

The language, the plan, the execution and the journal on disk are the real ones. The remote side answers from a
dictionary at the bulk reads and writes (`read_many`, `apply_many`), so that only the engine's own work is counted. Each
size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.connections import Site
from engine.language.resolve import resolve
from engine.run import execute, plan
from engine.run.journal import Journal
from engine.world import InlineWorkers, StillClock, World
from tests.run.memory import Remote, numbered

TASKS = 12
SIZES = (1_000, 20_000)
#: What is not the real thing here, and so is not in the figures; named in every line of output.
FROM_MEMORY = {
    "remote side": "a dictionary, at read_many and apply_many; no connection, no wire",
    "workers": "inline, in the driver's thread",
    "clock": "stands still",
}


def write(folder: Path, mailboxes: int) -> None:
    """A migration of so many mailboxes and twelve tasks a row."""
    (folder / "inventory.yml").write_text(
        "migration: bench\ntype: staged\nexchange: '2007'\n"
        "tenant: {id: 11111111-2222-3333-4444-555555555555, domain: bench.onmicrosoft.com}\n"
        "rows:\n  domains: [{domain: bench.example}]\n  mailboxes: mailboxes.csv\n")
    (folder / "mailboxes.csv").write_text("address,name,type\n" + "".join(
        f"user{n}@bench.example,User {n},user\n" for n in range(mailboxes)))
    (folder / "playbook.yml").write_text("- name: Steps\n  targets: mailboxes\n  tasks:\n" + "".join(
        f'    - name: Step {n}\n      step{n}: {{name: "{{{{ target }}}}", value: "{{{{ row.name }}}}"}}\n'
        for n in range(1, TASKS + 1)))


def measure(mailboxes: int) -> dict[str, Any]:
    """CPU per instance in microseconds, and this process's peak memory in MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, mailboxes)
        clock = StillClock(datetime(2026, 3, 2, tzinfo=UTC))
        world = World(clock=clock, environment={"USER": "bench"}, workers=InlineWorkers)
        site = Site({}, {"remote": Remote()}, world)
        instances = mailboxes * TASKS
        start = time.process_time()
        program = resolve(folder / "playbook.yml", folder / "inventory.yml", modules=numbered(TASKS))
        loaded = time.process_time()
        journal = Journal.open(folder / "state", clock, create=True)
        plan.make_plan(program, site, journal, world)
        planned = time.process_time()
        outcome = execute.run(program, site, journal, world, consent=lambda _: True)
        ran = time.process_time()
        assert outcome.changed == instances, outcome
        head, _ = journal.head()
        journal.close()
        return {
            "mailboxes": mailboxes, "instances": instances,
            "load_us": round((loaded - start) / instances * 1e6, 1),
            "plan_us": round((planned - loaded) / instances * 1e6, 1),
            "run_us": round((ran - planned) / instances * 1e6, 1),
            "records": head, "from_memory": sorted(FROM_MEMORY),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
        return
    found = [json.loads(subprocess.run([sys.executable, "-m", "bench.engine", str(size)], check=True,
                                       capture_output=True, text=True).stdout) for size in SIZES]
    small, large = found
    print(json.dumps({
        "what": "CPU microseconds per task instance; run = its own plan + acts + 3 durable records an instance",
        "from_memory": FROM_MEMORY,
        "sizes": found,
        "plan_ratio": round(large["plan_us"] / small["plan_us"], 2),
        "run_ratio": round(large["run_us"] / small["run_us"], 2),
    }))


if __name__ == "__main__":
    main()
