"""What the tenant still takes, and batches that come near the service's 60 and 90 days."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import app
from engine.run.preflight import Preflight
from engine.world import World
from tests.checks.scene import scene
from tests.lab.passing import time_passes


@pytest.mark.requirement("B-54")
def test_a_full_tenant_is_refused_and_its_oldest_batches_are_named(tmp_path: Path) -> None:
    with scene(tmp_path, "staged", description={"batches_max": 3}) as found:
        assert "tenant_limits" not in found.findings()
        found.endpoint()
        for number, name in enumerate(("Zebra", "Ant")):
            found.batch(name, f"old{number}@contoso.com")
            found.days(1)
        [refused] = found.findings()["tenant_limits"]
        assert refused["text"] == "2 batches to be made beside 2; the tenant takes 3 (B-54)"
        assert "the oldest first: Zebra, Ant." in refused["remedy"]
        found.batch("Last", "old9@contoso.com")
        [refused] = found.findings()["tenant_limits"]
        assert refused["text"].startswith("the tenant takes no new batch (CanSubmitNewBatch is no; 3 of 3 are there)")
        assert found.mailmove("apply", "acme", "--state", "state", "--yes")[0] == 5


@pytest.mark.requirement("C-28")
def test_a_second_cutover_batch_is_refused_and_ours_is_not_another(tmp_path: Path) -> None:
    with scene(tmp_path, "cutover") as found:
        found.endpoint()
        assert "one_cutover_batch" not in found.findings()
        found.batch("Theirs")
        [refused] = found.findings()["one_cutover_batch"]
        assert refused["severity"] == "refuse" and "another Outlook Anywhere batch: Theirs" in refused["text"]
        assert found.mailmove("apply", "acme", "--state", "state", "--yes")[0] == 5
        assert found.lab.get("/counters")["effects"].get("batch/Cutover create") is None
        found.cmdlet("Remove-MigrationBatch", Identity="Theirs")
        found.days(0.1)
        found.batch("Cutover")
        assert "one_cutover_batch" not in found.findings()


@pytest.mark.requirement("B-56")
def test_a_batch_is_told_of_before_the_service_stops_it_and_before_it_removes_it(tmp_path: Path) -> None:
    with scene(tmp_path, "cutover") as found:
        found.own_domain()
        found.endpoint()
        found.batch("Cutover")
        found.cmdlet("Start-MigrationBatch", Identity="Cutover")
        found.days(44)
        assert "batch_age" not in found.findings()
        found.days(2)
        [warned] = found.findings()["batch_age"]
        assert "no act since 2026-11-02; the service stops it on 2027-01-01 (60 days)" in warned["text"]
        assert "can no longer be removed safely" in warned["text"] and "-SyncNow" in warned["remedy"]
        found.days(20)
        [warned] = found.findings()["batch_age"]
        assert warned["text"].startswith("batch Cutover is Stopped") and "(90 days)" in warned["text"]
        assert "export its history" in warned["remedy"]


@pytest.mark.requirement("B-57")
def test_what_cannot_be_told_forbids_writing_and_is_never_absent(tmp_path: Path) -> None:
    with scene(tmp_path, "staged") as found:
        found.lab.post("/fault", kind="unavailable", match="exo Get-MigrationConfig", times=99, seconds=900)
        with time_passes(found.lab):
            code, said = found.mailmove("apply", "acme", "--state", "state", "--yes")
        assert code == 4, said
        assert said.count("Asked again at") == 2  # whoever started it is not kept for longer
        assert "the preflight could not tell" in said and "tenant_limits: the tenant takes the batches" in said
        assert found.lab.get("/counters")["effects"] == {}
        _, told = found.mailmove("history", "-p", "acme", "--state", "state")
        assert "tenant_limits" not in told  # a failed look is no news of the world


@pytest.mark.requirement("B-57")
@pytest.mark.parametrize("request_", ["exo Get-MigrationConfig", "graph GET /organization"], ids=["limits", "tenant"])
def test_a_run_is_not_given_up_for_one_passing_fault(tmp_path: Path, request_: str) -> None:
    with scene(tmp_path, "staged") as found, time_passes(found.lab):
        found.lab.post("/fault", kind="unavailable", match=request_, times=1, seconds=700)
        _, said = found.mailmove("apply", "acme", "--state", "state", "--yes")
        assert "Asked again at" in said and "could not tell" not in said, said
        assert "task rows:" in said  # it went on; this lab has not the endpoint that is named


@pytest.mark.requirement("B-57")
def test_only_what_could_not_be_told_is_asked_again(tmp_path: Path) -> None:
    with scene(tmp_path, "staged") as found, time_passes(found.lab):
        migration = app.load(app.place(found.folder / "acme", None, found.folder / "state", World()), {}, World())
        journal = migration.journal(create=True)
        preflight, told = Preflight(migration.program, migration.site, journal, migration.world), list[str]()
        found.lab.post("/fault", kind="unavailable", match="exo Get-MigrationConfig", times=1, seconds=700)
        findings = preflight.look_patiently(lambda: False, wait=True, tell=lambda untold, _: told.extend(untold))
        journal.close()
        asked = found.lab.get("/counters")["requests"]
        assert told and all(each.startswith("the tenant takes the batches") for each in told)
        assert not any(each.check == "tenant_limits" for each in findings)
        assert asked["exo Get-MigrationConfig"] == 2
        assert [asked[f"graph GET /{name}"] for name in ("applications", "domains", "organization")] == [1, 1, 1]


@pytest.mark.requirement("B-57")
def test_a_check_whose_connection_is_not_named_cannot_be_told(tmp_path: Path) -> None:
    with scene(tmp_path, "cutover", without="directory") as found:
        [untold] = found.findings()["mailbox_count"]
        assert untold["severity"] == "refuse" and untold["told"] is False
        assert "the inventory has no connection 'directory'" in untold["text"]
        assert found.mailmove("plan", "acme", "--state", "state")[0] == 4
        assert found.mailmove("apply", "acme", "--state", "state", "--yes")[0] == 4
        found.lab.post("/fault", kind="unavailable", match="graph GET /organization", times=99, seconds=900)
        code, said = found.mailmove("doctor", "-p", "acme", "--state", "state")
        assert code == 4 and "ILL  graph: " in said and "mailbox_count" not in said
