"""Everything that an engine or a lab imports while it runs. Read once, before anything is forked."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import engine

for module in pkgutil.walk_packages(engine.__path__, "engine."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in ("bench.kill_matrix.ledger", "aiohttp.web", "dns.resolver", "encodings.idna"):
    importlib.import_module(name)
gc.collect()
gc.freeze()  # what was read is never looked through again, so that a fork's pages stay shared
