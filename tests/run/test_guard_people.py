"""A batch whose people do not work in the cloud is not removed, whichever command asks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.cli import main
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch
from engine.rehearse import write_inventory
from engine.world import World
from tests.modules.lab_cloud import Lab
from tests.modules.service_stand import ENDPOINT, address, organisation, service

NAMES: dict[str, dict[str, str]] = {"anna": {}, "ben": {}, "room": {"type": "room", "sku": ""}}
PLAYBOOK = """\
- name: Remove the batch
  targets: batches
  tasks:
    - name: The history is exported
      batch_history: {batch: "{{ target }}"}
    - name: Go or no-go for removing
      approval: {id: remove, question: "Remove {{ target }}?"}
    - name: The batch is removed
      migration_batch: {name: "{{ target }}", endpoint: contoso-endpoint, state: absent}
"""
WORDS = "batch_removed: 2 mailbox(es) whose people do not work in the cloud (B-44): anna@contoso.com …"


@dataclass
class Removal:
    folder: Path
    lab: Lab

    def type(self, *words: str) -> tuple[int, str]:
        screen = io.StringIO()
        code = main([*words, "-i", str(self.folder / "inventory.yml"), "--state", str(self.folder / "state")], screen,
                    screen, World(environment={"USER": "maria"}))
        return code, " ".join(screen.getvalue().split())

    def batches(self) -> set[str]:
        self.lab.site.forget()
        return set(self.lab.site.exchange_online.migration_batches())


@pytest.fixture(scope="module")
def removal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Removal]:
    folder = tmp_path_factory.mktemp("removal")
    with service("cutover", folder, NAMES) as lab:
        for state in ("created", "started"):
            batch = MigrationBatch(name="Batch01", endpoint=ENDPOINT, state=state)  # type: ignore[arg-type]
            lab.act(batch)
            lab.settled(batch, within=3600, step=60)
        for name in NAMES:
            lab.settled(MailboxSync(address=address(name), batch="Batch01"), within=3 * 86400)
        described = organisation("cutover", NAMES)
        described["rows"]["batches"] = [{"batch": "Batch01"}]
        (folder / "inventory.yml").write_text(json.dumps({"migration": "removal", **described}))
        home = folder / "home"
        home.mkdir()
        write_inventory(folder / "inventory.yml", lab.ready, home)
        (home / "playbook.yml").write_text(PLAYBOOK)
        yield Removal(home, lab)


@pytest.mark.requirement("B-44", "B-46")
def test_plan_apply_resume_retry_and_another_override_do_not_remove_it(removal: Removal) -> None:
    path = str(removal.folder / "playbook.yml")
    code, said = removal.type("apply", path, "--yes")
    assert "asking: Go or no-go for removing" in said
    assert removal.type("approve", "Go or no-go for removing", "-p", path)[0] == 0
    assert "guard: batch_removed" in removal.type("plan", path)[1]
    for _ in ("apply", "resume"):
        assert removal.type("apply", path, "--yes")[0] == 12
        assert WORDS in removal.type("status", "-p", path)[1]
    code, said = removal.type("override", "mx_to_cloud", "Batch01", "--reason", "in a hurry", "-p", path)
    assert code == 2 and "this guard does not stop this row" in said
    assert removal.type("retry", "The batch is removed", "Batch01", "-p", path)[0] == 0
    assert removal.type("apply", path, "--yes")[0] == 12
    assert WORDS in removal.type("status", "-p", path)[1]
    assert removal.batches() == {"Batch01"}
