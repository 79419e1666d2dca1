"""A migration begun by hand: what stands is shown, taken over by a named person, and neither made nor changed again."""

from __future__ import annotations

from pathlib import Path

from engine.contract import ExitCode
from tests.whole.stage import Stage, staged


def begun_by_hand(stage: Stage) -> list[str]:
    """Others have come as far as a copied batch; then a journal of ours begins, which knows nothing. Its words."""
    stage.until(lambda: stage.counts("The first copy is complete").get("done", 0) >= 1)
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
