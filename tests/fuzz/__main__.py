"""Coverage-guided fuzzing: `python -m tests.fuzz TARGET --executions 1000000`.

Ends with 0 when no input raised anything it may not, took more than a second of CPU (with the instrumentation's own),
or brought the process, corpus and all, above 512 MiB; else the input is printed and kept in the folder given with
--artifacts. The slowest execution and the peak are printed at the end.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["engine", "yaml", "jinja2"]):
    import engine.connections.dns_answers
    import engine.connections.ews
    import engine.connections.exchange_online
    import engine.connections.graph
    import engine.plan_file  # noqa: F401  (instrumented here, imported late by the product)
    from tests.fuzz import targets

from tests.fuzz.bounds import Bounded


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    arguments.add_argument("target", choices=targets.NAMES_OF_TARGETS)
    arguments.add_argument("--executions", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--artifacts", type=Path, default=Path(".work/fuzz"))
    said = arguments.parse_args()
    corpus = said.artifacts / said.target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(targets.seeds(said.target)):
        (corpus / f"seed{number}").write_bytes(data)
    bounded = Bounded(targets.made(said.target))

    def one(data: bytes) -> None:
        bounded(data)
        if bounded.executions == said.executions:  # the fuzzer ends the process without a word to Python
            print(said.target, f"seed {said.seed}", bounded.report(), flush=True)

    # libFuzzer's own bound is of wall-clock time, which other processes take from us
    atheris.Setup([sys.argv[0], f"-runs={said.executions}", f"-seed={said.seed}", "-timeout=60", "-rss_limit_mb=512",
                   "-max_len=8192", "-print_final_stats=1", f"-artifact_prefix={corpus}/", str(corpus)], one,
                  custom_mutator=lambda data, size, seed: change(said.target, data, size, seed))
    atheris.Fuzz()


def change(target: str, data: bytes, size: int, seed: int) -> bytes:
    """Half the time the fuzzer's own mutations, half the time ours, which know what JSON is."""
    rng = random.Random(seed)
    changed = targets.mutated(target, data, rng) if rng.random() < 0.5 else atheris.Mutate(data, size)
    return bytes(changed[:size])


main()
