"""Letters as a person meets them: what the plan shows, once per person, and what a bounce looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modules.lab_playbook import Migration, migrating

PLAYBOOK = """
    - name: Announce the move
      targets: mailboxes
      tasks:
        - name: The user knows what will happen
          mail: {id: announcement, to: "{{ target }}", letter: announcement}
          register: announced
        - name: The announcement did not come back
          mail_delivery: {id: announcement, to: "{{ target }}", sent_at: "{{ announced.sent_at | text }}"}
          not_before: "{{ announced.sent_at + minutes(30) }}"
"""


@pytest.fixture(scope="module")
def migration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migration]:
    with migrating("cutover", tmp_path_factory.mktemp("letters")) as found:
        yield found


@pytest.mark.requirement("C-18")
def test_the_plan_shows_whom_it_reaches_and_one_letter_as_it_will_be_read(migration: Migration) -> None:
    said = migration.plan(migration.play(PLAYBOOK), state="plan-only")
    assert PLANNED in said
    assert said.count("Hello ") == 1
    assert migration.mail("anna@contoso.com") == []


@pytest.mark.requirement("C-18", "C-19", "C-24")
def test_a_letter_goes_out_once_however_it_is_reworded_and_a_bounce_fails_its_row(migration: Migration) -> None:
    path = migration.play(PLAYBOOK)
    migration.lab.post("/fault", kind="bounce", address="ben@contoso.com")
    migration.apply(path, code=11)
    assert [each["where"] for each in migration.mail("anna@contoso.com")] == ["source"]
    assert migration.mail("ben@contoso.com") == []

    (migration.folder / "letters" / "announcement.txt").write_text("Subject: In our words\n\nHello {{ row.name }}.\n")
    migration.pass_time(minutes=31)
    said = migration.apply(path, code=4)
    assert len(migration.mail("anna@contoso.com")) == 1
    assert said == BOUNCED
    assert migration.say(path, "why", "ben@contoso.com").partition("\n      mailmove")[0] == WHY
    assert migration.apply(path, code=4).count("came back") == 1  # and again, until somebody waives it
    migration.say(path, "waive", "The announcement did not come back", "ben@contoso.com", "--reason", "telephoned")
    assert "Everything is as the playbook says." in migration.apply(path, code=0)
    assert migration.mail("ben@contoso.com") == [] and len(migration.mail("anna@contoso.com")) == 1

    # the journal keeps who got it, when, and the wording's digest; never the letter
    told = migration.say(path, "history", "carla@contoso.com", "--json")
    sent = next(json.loads(line) for line in told.splitlines() if '"sent_at"' in line)["body"]["state"]
    assert sent["through"] == "graph" and len(sent["template"]) == 16
    assert sent["message_id"].startswith("<mailmove.mail.announcement.")
    assert "out-of-office" not in told and "In our words" not in told


@pytest.mark.requirement("C-18")
def test_a_sender_without_a_licence_is_told_before_graph_is_asked(migration: Migration) -> None:
    inventory = migration.folder / "inventory.yml"
    text = inventory.read_text()
    inventory.write_text(text.replace("mailmove@contoso.onmicrosoft.com", "nobody@contoso.onmicrosoft.com"))
    try:
        said = migration.apply(migration.play(PLAYBOOK, "unlicensed"), code=4, state="unlicensed")
    finally:
        inventory.write_text(text)
    assert "nobody@contoso.onmicrosoft.com has no licensed mailbox: no letter can leave it" in said
    assert "`through: smtp`" in migration.say(migration.folder / "unlicensed.yml", "status", state="unlicensed")


@pytest.mark.requirement("C-18", "B-43", "B-44")
def test_the_dossier_lists_letters_what_became_of_them_and_who_works_in_the_cloud(tmp_path: Path) -> None:
    with migrating("cutover", tmp_path, cloud_mailboxes=[
            {"address": f"{each}@contoso.com"} for each in ("anna", "ben", "carla")]) as migration:
        path = migration.play(PLAYBOOK + """
        - name: The person uses the cloud mailbox
          mailbox_use: {address: "{{ target }}", since: "{{ announced.sent_at | text }}"}
    - name: Proof
      targets: organisation
      needs: [{name: Announce the move, rows: all}]
      tasks:
        - name: A message arrives
          delivery_probe: {id: proof, to: mailmove@contoso.onmicrosoft.com, through: source}
""")
        migration.apply(path)
        migration.pass_time(days=2)
        migration.apply(path, code=0)
        migration.say(path, "report", "--html", str(tmp_path / "dossier.html"))
    page = (tmp_path / "dossier.html").read_text()
    parts = page.split("<h2>")
    told = {part.partition("</h2>")[0]: part for part in parts[1:]}
    assert told["Letters"].count("<tr>") == 4 and "template " in told["Letters"]
    assert told["Letters seen in the trace"].count("status Delivered") == 3
    assert told["Who works in the cloud"].count("last used 2026-11-0") == 3
    assert told["Proofs of delivery"].count("delivered at") == 1
    assert "Hello Anna" not in page


PLANNED = """\
Guarded, or cannot be taken back
  >     3 × The user knows what will happen
            Your mailbox will move to Microsoft 365 (anna@contoso.com, ben@contoso.com and 1 more)

Announce the move
  .     3 × known after «The user knows what will happen»: «The announcement did not come back»

Letters
  «The user knows what will happen», the first of 3:
    | To: anna@contoso.com
    | Subject: Your mailbox will move to Microsoft 365
    |
    | Hello Anna,
    |
    | your mailbox anna@contoso.com will soon move to Microsoft 365.
"""
BOUNCED = """\
  failed: The announcement did not come back  ben@contoso.com
        the letter to ben@contoso.com came back: 550 5.2.2 mailbox full; unable to process message.
        Mend the address or the route and send it under a new id, or tell the person in another way
        and waive this row

                     done  failed
  Announce the move     5       1

Some rows failed; the others were not held up by them.
0 changes in this run; task rows: 5 done, 1 failed.
Predictions: 3 made, 3 kept, 0 broken.

Next:
    mailmove retry -p HERE/playbook.yml -i HERE/inventory.yml --state HERE/state \
'Announce the move / The announcement did not come back' ben@contoso.com
"""
WHY = """\
ben@contoso.com   Ben, Batch01, 1 of 2 tasks done

What happened
  2026-11-02 07:00 UTC  > The user knows what will happen

Where it stands
  failed since 2026-11-02 07:31 UTC: «The announcement did not come back»
      the letter to ben@contoso.com came back: 550 5.2.2 mailbox full; unable to process message.
      Mend the address or the route and send it under a new id, or tell the person in another way
      and waive this row"""
