"""The wheel as a stranger gets it: built, installed into an empty environment, used outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str | Path, cwd: Path, **environment: str) -> str:
    ended = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, timeout=600,
                           env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                                **environment}, check=False)
    assert ended.returncode == 0, f"{words}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout


@pytest.fixture(scope="module")
def mailmove(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment in which only the wheel is installed.

    Its dependencies, pinned with hashes in requirements.lock, are those of the environment that runs the tests: a
    .pth names its folder, behind the wheel's own, so that no network is needed.
    """
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    wheel = next(folder.glob("mailmove-*.whl"))
    venv.create(folder / "venv", with_pip=True)
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    run(scripts / "python", "-m", "pip", "install", "--no-index", "--no-deps", wheel, cwd=folder)
    own = Path(run(scripts / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))",
                   cwd=folder).strip())
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = Path(run(scripts / "python", "-c", "import engine; print(engine.__file__)", cwd=folder).strip())
    assert found.is_relative_to(folder), "the wheel, not the checkout"
    return scripts / "mailmove"


@pytest.mark.slow
def test_a_new_migration_is_made_checked_and_rehearsed(mailmove: Path, tmp_path: Path) -> None:
    """Both kinds are whole in the wheel; that each comes to its end is shown from the checkout (test_versions)."""
    for kind in ("cutover", "staged"):
        run(mailmove, "init", kind, "--type", kind, cwd=tmp_path)
        assert "nothing is wrong" in run(mailmove, "check", kind, cwd=tmp_path)
    said = run(mailmove, "rehearse", "staged", cwd=tmp_path, MAILMOVE_STATE=str(tmp_path / "state"))
    assert "The same playbook once more: 0 changed; the organisation is the same" in said
    assert "Done more than once: nothing." in said


@pytest.mark.slow
def test_the_wheel_brings_playbooks_schemas_and_samples(mailmove: Path, tmp_path: Path) -> None:
    listed = run(mailmove.with_name("python"), "-c", (
        "from engine.app import data_folder as d\n"
        "print(*sorted(p.relative_to(d()).as_posix() for p in d().rglob('*') if p.is_file()))"), cwd=tmp_path).split()
    assert {"playbooks/staged.yml", "playbooks/cutover.yml", "schemas/playbook.json", "schemas/inventory.json",
            "inventory/init/staged/inventory.yml", "inventory/staged/mailboxes.csv"} <= set(listed)
