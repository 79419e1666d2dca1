"""What docs/operations.md gives to be copied is what the systems take."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.arguments import parse

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.server("systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = re.search(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    assert units is not None
    parts = re.split(r"^# /etc/systemd/system/(\S+)\n", units[1], flags=re.MULTILINE)[1:]
    (tmp_path / "secrets").write_text("")
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        (tmp_path / name).write_text(text.replace("/usr/local/bin/mailmove", sys.executable).replace(
            "User=mailmove", "User=root").replace("/etc/mailmove/secrets", str(tmp_path / "secrets")))
    found = subprocess.run(["systemd-analyze", "verify", str(tmp_path / "mailmove.timer"),
                            str(tmp_path / "mailmove.service")], capture_output=True, text=True)
    ours = [line for line in (found.stdout + found.stderr).splitlines() if "mailmove" in line]
    assert ours == [] and set(parts[::2]) == {"mailmove.service", "mailmove.timer"}


def test_every_apply_on_the_page_is_a_command_line_we_take() -> None:
    lines = [line.split("mailmove apply", 1)[1] for line in PAGE.splitlines()
             if "mailmove apply" in line and "`" not in line]
    lines += re.findall(r'mailmove\.exe apply ([^"]*)', PAGE)
    assert len(lines) >= 4
    for line in lines:
        words = re.split(r"\s*(?:>>|#)", line)[0].split()
        assert parse(["apply", *words]).command == "apply"
