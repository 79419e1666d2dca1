"""What ages, in one file with "as of" and source: `dates.yml`. Read by checks and checklists, changed there alone."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any


@cache
def table() -> dict[str, Any]:
    """The file as it is: as_of, dates, exchange, outlook."""
    import yaml  # only where somebody looks; `status` must not pay for it

    text = (resources.files("engine.data") / "dates.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def outlook() -> tuple[str, ...]:
    """What is known of Outlook versions, one sentence each (T-36)."""
    return tuple(f"{each['version']}: {each['says']}" for each in table()["outlook"])
