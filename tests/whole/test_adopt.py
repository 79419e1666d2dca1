"""A migration begun by hand: what stands is shown, taken over by a named person, and neither made nor changed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.app import data_folder
from engine.contract import ExitCode
from tests.whole.stage import Stage, staged


def begun_by_hand(stage: Stage, task: str = "The first copy is complete") -> list[str]:
    """Others have come as far as this task; then a journal of ours begins, which knows nothing. Its words."""
    stage.until(lambda: stage.counts(task).get("done", 0) >= 1)
    return ["-p", str(stage.playbook), "-i", str(stage.inventory), "--state", str(stage.folder / "ours")]


def test_what_stands_is_shown_and_taken_over_once(tmp_path: Path) -> None:
    with staged(tmp_path, batch="Batch02") as stage:
        where = begun_by_hand(stage)
        before = stage.lab.get("/counters")["moved"]
        code, shown, _ = stage.typed(["adopt", *where, "--plan"])
        assert code == 0 and not (stage.folder / "ours").exists()
        for key in ("endpoint/", "batch/Batch02", "domain/contoso.com"):
            assert key in shown, shown
        assert "mailmove adopt" in shown.splitlines()[-1] and max(map(len, shown.splitlines()[:-1])) <= 100

        code, _, said = stage.typed(["adopt", *where])
        assert code == ExitCode.USAGE and "a reason is missing" in said
        code, _, said = stage.typed(["adopt", *where, "--reason", "begun by the partner", "--by", "kim"])
        assert code == ExitCode.PARKED_ON_PERSON and "Nothing was taken over" in said
        assert stage.typed(["history", *where])[1].startswith("Nothing has happened yet")

        code, said, _ = stage.typed(["adopt", *where, "--reason", "begun by the partner", "--by", "kim", "--yes"])
        assert code == 0 and "Taken over by kim" in said
        history = stage.typed(["history", *where])[1]
        assert "batch/Batch02 taken over by kim: begun by the partner" in history
        assert stage.typed(["adopt", *where, "--plan"])[1].startswith("Nothing stands already")

        playbook, files = where[1], where[2:]
        stage.typed(["apply", playbook, *files, "--yes"])
        effects = stage.lab.get("/counters")["effects"]
        assert not any(count > 1 for name, count in effects.items() if name.endswith("create")), effects
        assert stage.lab.get("/counters")["moved"] == before, "all that could be done now stood already"


KNOWN, VERIFIED, EXISTS = "The domain is known to the tenant", "The domain is verified", "The batch exists"
DOMAIN, ENDPOINT, BATCH = "domain/contoso.com", "endpoint/contoso-endpoint", "batch/Batch02"


@pytest.mark.parametrize(("task", "under", "keys"), [
    (KNOWN, KNOWN, [DOMAIN]), (VERIFIED, VERIFIED, [DOMAIN, ENDPOINT]), (EXISTS, EXISTS, [DOMAIN, ENDPOINT, BATCH]),
], ids=["a domain that waits for its proof", "a verified domain", "a batch that nobody has started"])
def test_whatever_others_have_come_to_is_shown_under_the_task_that_wants_it(
        tmp_path: Path, task: str, under: str, keys: list[str]) -> None:
    with staged(tmp_path, batch="Batch02") as stage:
        where = begun_by_hand(stage, task)
        lines = [line.strip() for line in stage.typed(["adopt", *where, "--plan"])[1].splitlines()]
        assert [line for line in lines if line in (DOMAIN, ENDPOINT, BATCH)] == keys
        assert under in lines
        moved = stage.lab.get("/counters")["moved"]
        code, said, _ = stage.typed(["adopt", *where, "--reason", "the partner left", "--by", "kim", "--yes"])
        assert code == 0 and f"Taken over by kim: {len(keys)}." in said
        assert stage.lab.get("/counters")["moved"] == moved


def test_what_differs_is_shown_and_changed_only_with_consent(tmp_path: Path) -> None:
    with staged(tmp_path, batch="Batch02") as stage:
        where = begun_by_hand(stage, EXISTS)
        shipped = (data_folder() / "playbooks" / "staged.yml").read_text(encoding="utf-8")
        ours = stage.folder / "acme" / "ours.yml"
        ours.write_text(shipped.replace("max_concurrent_migrations: 20", "max_concurrent_migrations: 30"),
                        encoding="utf-8")
        where[1] = str(ours)
        code, said, _ = stage.typed(["adopt", *where, "--reason", "the partner left", "--by", "kim", "--yes"])
        assert code == 0 and "max_concurrent_migrations: 20 → 30" in said, said
        assert "What differs, apply changes only after its plan was consented to." in said
        moved = stage.lab.get("/counters")["moved"]
        stage.typed(["apply", *where[1:]])  # nobody consents
        assert stage.lab.get("/counters")["moved"] == moved
