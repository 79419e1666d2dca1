"""What is written from the code is what the code says now."""

from __future__ import annotations

import io
from pathlib import Path

from engine.cli import main
from engine.world import World

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_of_modules_is_current() -> None:
    """When this fails: `make docs`."""
    out = io.StringIO()
    assert main(["doc", "--markdown"], out, out, World()) == 0
    assert out.getvalue() == (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")


def test_the_reference_of_errors_is_current() -> None:
    """When this fails: `make docs`."""
    out = io.StringIO()
    assert main(["doc", "errors", "--markdown"], out, out, World()) == 0
    assert out.getvalue() == (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
