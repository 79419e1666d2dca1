"""The ways in which things go wrong while mailmove holds secrets: each is one path, walked by the real command line.

A path is a function of the stage and of the form in which servers repeat what they were sent.
"""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.connections.batch_csv import read
from tests.canaries.canaries import Canary
from tests.canaries.stage import PLAYBOOK, Stage, write_list


@dataclass(frozen=True)
class Way:
    """One function that walks one or more failure paths, and how many."""

    name: str
    walk: Callable[[Stage, str], None]
    #: what it counts for: doors × faults it goes through
    count: int
    #: walked once for each form (echo), or once
    forms: bool
    short: bool


PATHS: list[Way] = []


def path(name: str, *, count: int = 1, forms: bool = False, short: bool = True) -> Callable[..., Any]:
    def add(walk: Callable[[Stage, str], None]) -> Callable[[Stage, str], None]:
        PATHS.append(Way(name, walk, count, forms, short))
        return walk
    return add


# --------------------------------------------------------------------------- servers that repeat the request


@path("the sign-in service repeats the app's secret (401)", forms=True)
def echo_sign_in(stage: Stage, form: str) -> None:
    stage.inventory("graph")
    stage.fault("echo", match="sign-in POST token", status=401, form=form)
    stage.run("doctor")
    stage.inventory()


@path("graph (403), exchange_online (400), EWS, LDAP and SMTP sign-ins repeat the request", count=5, forms=True)
def echo_doors(stage: Stage, form: str) -> None:
    for match, status in (("graph GET", 403), ("exo", 400), ("ews FindFolder", 0), ("ldap bind", 0), ("smtp AUTH", 0)):
        stage.fault("echo", match=match, status=status, form=form, times=3)  # SMTP has several ways to sign in
    stage.run("doctor")


@path("graph is busy (429, 503) and broken (500) and repeats the request each time", count=3)
def echo_busy(stage: Stage, form: str) -> None:
    for status in (429, 503, 500):
        stage.fault("echo", match="graph GET", status=status, form=form, times=6)
        stage.run("doctor")


@path("graph refuses the token twice (401), repeating it")
def echo_unauthorised(stage: Stage, form: str) -> None:
    stage.fault("echo", match="graph GET", status=401, form=form, times=2)
    stage.run("doctor")


@path("the directory refuses a search, SMTP a recipient, each repeating the sign-in", count=2)
def echo_later(stage: Stage, form: str) -> None:
    stage.inventory(smtp={"password": stage.named("directory password")})
    stage.fault("echo", match="ldap search", form=form, times=1)
    stage.fault("echo", match="smtp RCPT", form=form, times=1)
    stage.run("doctor", "--json")
    stage.inventory()


@path("an apply whose acts are refused with the request repeated: list with passwords, letters, counts", count=4)
def echo_apply(stage: Stage, form: str) -> None:
    stage.inventory(exchange_online={"shell": "pwsh", "pwsh": str(stage.folder / "shell" / "pwsh"),
                                     "source_password": stage.named("source password")})
    _shell(stage, {"objects": []}, start="")
    _type(stage, NEW_ENDPOINT)
    for match in ("exo New-MigrationBatch", "ews FindFolder", "smtp AUTH"):
        stage.fault("echo", match=match, status=400, form=form, times=2)
    stage.run("apply", "--yes")
    stage.run("retry", "A letter", "--reason", "again")
    stage.run("apply", "--yes", "--json")
    _look_at_everything(stage)
    stage.inventory()


# ----------------------------------------------------------------------------------- wrong secrets, bad doors


@path("each secret is wrong in its turn", count=5)
def wrong(stage: Stage, form: str) -> None:
    named = stage.named("a wrong password")
    stage.inventory(graph={"client_secret": named}, exchange_online={"client_secret": named},
                    directory={"password": named}, ews={"password": named}, smtp={"password": named})
    stage.run("doctor")
    stage.run("plan")
    stage.run("apply", "--yes")
    stage.inventory()


@path("a secret's source is silent: no file, no variable, a command that fails and says the secret", count=4)
def silent(stage: Stage, form: str) -> None:
    script = stage.secrets / "vault"
    script.write_text(f"#!/bin/sh\nprintf '%s' {_quoted(stage.values['source shell password'])} >&2\n"
                      f"printf '%s' {_quoted(stage.values['source shell password'])}\nexit 7\n")
    script.chmod(0o700)
    stage.inventory(ews={"password": "\0secret env:NOT_SET"},
                    source_shell={"provider": "pypsrp", "host": "localhost", "auth": "basic", "tls": "tls",
                                  "password": "\0secret file:/nowhere/at/all"},
                    directory={"password": f"\0secret command:{script}"},
                    dns={"provider": "lexicon", "api": "powerdns", "update": None,
                         "options": {"auth_token": "\0secret keyring:mailmove/none"}})
    stage.run("doctor")
    stage.inventory()


@path("no authority is trusted: TLS fails at every door", count=5)
def untrusted(stage: Stage, form: str) -> None:
    other = stage.cloud.ca_file
    stage.inventory(**{name: {"ca_file": other} for name in (
        "graph", "exchange_online", "directory", "ews", "smtp")})
    stage.run("doctor")
    stage.run("apply", "--yes")
    stage.inventory()


@path("nobody listens", count=5)
def closed(stage: Stage, form: str) -> None:
    stage.inventory(graph={"url": "https://localhost:9"}, exchange_online={"authority": "https://localhost:9/t"},
                    directory={"port": 9}, ews={"url": "https://localhost:9/EWS"}, smtp={"port": 9})
    stage.run("doctor")
    stage.inventory()


@path("the DNS server knows another key (BADSIG), or none of that name (BADKEY)", count=2)
def tsig(stage: Stage, form: str) -> None:
    import base64

    update = stage.lab.ready["connections"]["dns"]["update"]
    (stage.secrets / "another key").write_text(base64.b64encode(stage.values["a wrong password"].encode()).decode())
    for name, secret in ((update["key_name"], "\0secret file:" + str(stage.secrets / "another key")),
                         ("no-such-key", stage.named("TSIG key"))):
        stage.inventory(dns={"update": {**update, "key_name": name, "secret": secret}})
        stage.run("doctor")
    stage.inventory(dns={"update": {**update, "secret": stage.named("key that is not base64")}})
    stage.run("doctor")
    stage.inventory()


@path("a certificate's key cannot be read, or is not known to the sign-in service", count=2)
def certificate(stage: Stage, form: str) -> None:
    stage.inventory(graph={"client_secret": None, "certificate": stage.named("a wrong password")},
                    exchange_online={"client_secret": None, "certificate": stage.named("certificate")})
    stage.fault("echo", match="sign-in POST token", status=400, form=form, times=2)
    stage.run("doctor")
    stage.run("doctor")
    stage.inventory()


# ------------------------------------------------------------------------------------------------- strangers


@path("a proxy wants another sign-in (407), or breaks off (502), and repeats the request", count=2, forms=True)
def proxy(stage: Stage, form: str) -> None:
    from engine.lab.echo import FORMS

    path = stage.secrets / "proxy"
    path.write_text(stage.values["proxy"])
    # loopback is never reached through the environment's proxy; a proxy that is named is asked for every host
    stage.inventory("graph", graph={"url": "https://graph.contoso.test", "authority": "https://login.contoso.test/t",
                                    "proxy": f"\0secret file:{path}"})
    for status in (407, 502):
        stage.gateway.answer = lambda request, status=status: (
            status, {"Proxy-Authenticate": "Basic realm=gateway"}, FORMS[form](request).encode("utf-8", "replace"))
        stage.run("doctor")
    stage.inventory()


@path("the DNS host's web API refuses the token and repeats it (401, 422, 500)", count=3, forms=True)
def provider(stage: Stage, form: str) -> None:
    from engine.lab.echo import FORMS

    for status in (401, 422, 500):
        stage.gateway.answer = lambda request, status=status: (
            status, {}, FORMS[form](request).encode("utf-8", "replace"))
        stage.inventory("dns", dns={"provider": "lexicon", "api": "powerdns", "update": None, "options": {
            "auth_token": stage.named("DNS host's token"), "pdns_server": f"http://127.0.0.1:{stage.gateway.port}"}})
        stage.run("doctor")
    stage.inventory()


@path("the sign-in service, graph and EWS send to another host: nothing goes there", count=3)
def redirect(stage: Stage, form: str) -> None:
    here, there = (f"https://localhost:{each.port}" for each in (stage.cloud, stage.elsewhere))

    def answer(request: bytes) -> tuple[int, dict[str, str], bytes]:
        if b"openid-configuration" in request:
            return 200, {}, json.dumps({"issuer": here, "token_endpoint": f"{here}/token",
                                        "authorization_endpoint": f"{here}/authorize"}).encode()
        return 307, {"Location": f"{there}/elsewhere"}, b""

    # both believe the same authorities, or the second line would never come about
    both = stage.folder / "lab" / "both.pem"
    both.write_text("".join(Path(each).read_text() for each in (
        stage.cloud.ca_file, stage.elsewhere.ca_file, stage.lab.ready["ca_file"])))
    stage.cloud.answer, stage.elsewhere.answer = answer, lambda request: (200, {}, b"{}")
    stage.inventory(graph={"url": here, "authority": f"{here}/t", "ca_file": str(both)},
                    exchange_online={"url": here, "ca_file": str(both)},
                    ews={"url": f"{here}/EWS", "ca_file": str(both)})
    stage.run("doctor")
    stage.inventory()


@path("answers are malformed: no JSON, cut, of another form, full of what was sent", count=4)
def malformed(stage: Stage, form: str) -> None:
    for body in (b"<html>%s</html>", b'{"value": [%s', b'{"error": "%s"}', b'[1, "%s"]'):
        stage.cloud.answer = lambda request, body=body: (400, {"Content-Type": "application/json"},
                                                         body.replace(b"%s", request))
        url = f"https://localhost:{stage.cloud.port}"
        stage.inventory(graph={"authority": f"{url}/t", "url": url, "ca_file": stage.cloud.ca_file},
                        exchange_online={"url": url, "authority": stage.lab.ready["connections"]["graph"]["authority"]},
                        ews={"url": f"{url}/EWS", "ca_file": stage.cloud.ca_file})
        stage.run("doctor")
    stage.inventory()


@path("the source's shell refuses, over HTTPS with Basic, and repeats the request", count=2)
def source_shell(stage: Stage, form: str) -> None:
    from engine.lab.echo import FORMS

    script = stage.secrets / "vault"
    script.write_text(f"#!/bin/sh\nprintf '%s' {_quoted(stage.values['source shell password'])}\n")
    script.chmod(0o700)
    for status in (401, 500):
        stage.cloud.answer = lambda request, status=status: (
            status, {"WWW-Authenticate": "Basic realm=x"}, FORMS[form](request).encode("utf-8", "replace"))
        stage.inventory("source_shell", source_shell={
            "provider": "pypsrp", "host": "localhost", "port": stage.cloud.port, "auth": "basic", "tls": "tls",
            "ca_file": stage.cloud.ca_file, "user": "CORP\\migadmin", "password": f"\0secret command:{script}"})
        stage.run("doctor")
    stage.inventory()


# -------------------------------------------------------------------------------------------------- children


@path("PowerShell dies, is not there, prints what it was given, refuses with it", count=4)
def shell(stage: Stage, form: str) -> None:
    settings = {"shell": "pwsh", "pwsh": str(stage.folder / "shell" / "pwsh"),
                "source_password": stage.named("source password")}
    stage.new_migration()
    for behaviour in (
            {"start": "die"}, {"connect": {"error": {"class": "System.Exception", "message": "@token@"}}},
            {"calls": [{"error": {"class": "System.Exception", "message": "@all@"}}]}, {"calls": ["die"]}):
        stage.inventory(exchange_online=settings)
        _shell(stage, **behaviour)
        stage.run("doctor")
        stage.run("apply", "--yes", "--limit", "acme")
        stage.run("apply", "--yes")
    stage.inventory(exchange_online={**settings, "pwsh": "/nowhere/pwsh"})
    stage.run("doctor")
    stage.inventory()


NEW_ENDPOINT = ("New-MigrationEndpoint -ExchangeOutlookAnywhere -Name 'contoso-endpoint' -ExchangeServer "
                "'ex01.corp.contoso.com' -RpcProxyServer 'mail.contoso.com' -EmailAddress 'anna@contoso.com' "
                "-Credentials (Get-Credential)")


def _type(stage: Stage, line: str) -> None:
    """A person types this line into PowerShell, with the account's password."""
    stage.lab.post("/desk", script=line, user="CORP\\migadmin", password=stage.values["directory password"])


def _shell(stage: Stage, *calls: Any, **behaviour: Any) -> None:
    """What the stand-in of PowerShell says; @all@ and @token@ are what it has heard."""
    folder = stage.folder / "shell"
    (folder / "heard.jsonl").unlink(missing_ok=True)
    found = {"calls": list(calls) or [{"objects": []}], **behaviour}
    tokens = stage.lab.get("/tokens")
    text = json.dumps(found).replace("@all@", json.dumps(f"password {stage.values['source password']}")[1:-1])
    (folder / "behaviour.json").write_text(text.replace("@token@", f"refused {tokens[-1] if tokens else ''}"))


# ----------------------------------------------------------------------------------------------------- files


@path("a batch's list is broken: a quote, a twin, a short password, too many values", count=4)
def broken_list(stage: Stage, form: str) -> None:
    right = (stage.home / "Batch01.csv").read_bytes()
    rows = right.splitlines()
    for wrong_list in (right + b'"', right + rows[1] + b"\r\n", right.replace(b"Password", b"Kennwort"),
                       b"\r\n".join([*rows[:2], rows[2] + b",more", b"x" + rows[2][:30]])):
        (stage.home / "Batch01.csv").write_bytes(wrong_list)
        (stage.home / "shown.csv").write_bytes(wrong_list)
        stage.run("check", "Batch01.csv")
        stage.run("plan")
        stage.run("inventory", "convert", "shown.csv", "--out", "secrets/again.csv")
        (stage.secrets / "again.csv").unlink(missing_ok=True)
    (stage.home / "Batch01.csv").write_bytes(right)


@path("a secret is written out in an inventory, a playbook, a variable", count=4)
def written_out(stage: Stage, form: str) -> None:
    value = stage.values["written out"]
    inventory = (stage.home / "inventory.yml").read_text()
    place = stage.secrets / "inventory.yml"
    first = '"connections": {'
    place.write_text(inventory.replace(first, f'"password": {json.dumps(value)}, {first}'))
    shutil.copy2(stage.home / "Batch01.csv", stage.secrets / "Batch01.csv")
    stage.run("check", "-i", str(place))
    place.write_text(inventory.replace(first, f'{first} "source_shell": {{"password": {json.dumps(value)}}},'))
    stage.run("plan", "-i", str(place))
    playbook = stage.secrets / "playbook.yml"
    playbook.write_text(f"{PLAYBOOK}    - name: x\n      mail: {{id: x, password: {json.dumps(value)}, to: a@b.c}}\n")
    stage.run("check", str(playbook), "-i", str(stage.home / "inventory.yml"))
    playbook.write_text(f"- name: x\n  vars: {{password: {json.dumps(value)}}}\n  api_key: {json.dumps(value)}\n")
    stage.run("check", str(playbook), "-i", str(stage.home / "inventory.yml"))
    for name in ("inventory.yml", "playbook.yml", "Batch01.csv"):
        (stage.secrets / name).unlink()


@path("a secret is used where a text is wanted: in a letter, a name, a condition", count=3)
def misused(stage: Stage, form: str) -> None:
    secret = '!secret "env:CANARY"'
    playbook = stage.home / "misused.yml"
    for task in ("mail: {id: x, to: 'anna@contoso.com', subject: '{{ x }}', text: t}",
                 "when: x == 'a'\n      tenant_domain: {domain: contoso.com, state: present}",
                 "tenant_domain: {domain: 'a{{ x }}.com', state: present}"):
        playbook.write_text("- name: Misuse\n  targets: organisation\n  tasks:\n    - name: It\n"
                            f"      vars: {{x: {secret}}}\n      {task}\n")
        for words in (("check", "misused.yml"), ("plan", "misused.yml"), ("vars", "-p", "misused.yml", "--explain")):
            stage.run(*words)


# ------------------------------------------------------------------------------------------- ends and looks


@path("a migration goes on, and everything about it is looked at", count=1)
def looks(stage: Stage, form: str) -> None:
    stage.new_migration()
    stage.inventory(smtp={"password": stage.named("directory password")})
    _type(stage, "Remove-MigrationEndpoint -Identity 'contoso-endpoint'")  # where another path has made it
    stage.run("apply", "--yes")
    _type(stage, NEW_ENDPOINT)
    stage.pass_time()
    stage.run("apply", "--yes", "--json")
    _look_at_everything(stage)
    stage.run("undo", "acme", "--plan")
    stage.run("undo", "acme", "--reason", "back", "--yes")
    stage.inventory()


def _look_at_everything(stage: Stage) -> None:
    for words in (
            ("plan",), ("plan", "--diff"), ("plan", "--format", "json", "--out", "plan.json"),
            ("plan", "--format", "html", "--out", "plan.html"), ("plan", "--out", "kept.json"), ("apply", "kept.json"),
            ("status",), ("status", "--json"), ("status", "--csv"), ("history",), ("history", "anna@contoso.com"),
            ("why", "anna@contoso.com"), ("why", "acme"), ("report", "--html", "dossier.html"), ("journal", "verify"),
            ("failures", "--out", "failures"), ("vars", "--explain"), ("inventory", "list"),
            ("inventory", "import", "--diff"), ("check", "--graph"), ("doctor", "--json"),
            ("doc", "migration_endpoint"), ("waive", "A letter", "anna@contoso.com", "--reason", "no letter")):
        stage.run(*words)


@path("a bug: the traceback of the console program, with a library's words in it")
def bug(stage: Stage, form: str) -> None:
    code = stage.process("-c", """
import sys
import engine.connections.ews as ews
def broken(self, address):
    password = self._settings["password"].open(self._site.world)
    raise RuntimeError("cannot understand user=maria&password=" + password)
ews.Ews.count = broken
sys.argv = ["mailmove", "doctor"]
from engine.cli import run
run()
""")
    assert code == 1 and any(b"RuntimeError: cannot understand" in said for said in stage.said.values()), stage.said


@path("killed in the middle (SIGKILL at a request), then gone on", count=2)
def killed(stage: Stage, form: str) -> None:
    stage.new_migration()
    assert stage.process("apply", "--yes", kill_at=25) == -9
    stage.run("status")
    stage.run("apply", "--yes")


@path("the disk is full: journal, plan file, exports", count=2)
def full(stage: Stage, form: str) -> None:
    stage.new_migration()

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, 16_384))

    stage.process("apply", "--yes", preexec_fn=small)
    stage.process("plan", "--out", "full.json", preexec_fn=small)


@path("a password changes at the source; the endpoint is handed over to be given the new one", count=1)
def changed(stage: Stage, form: str) -> None:
    stage.new_migration()
    stage.run("apply", "--yes")
    stage.run("status", "--json")


@path("a rehearsal: lab, engine and person as processes of their own", count=1, short=False)
def rehearsal(stage: Stage, form: str) -> None:
    stage.run("rehearse", "--keep", str(stage.home / "kept"))


@path("a list is rewritten, split and checked", count=1)
def lists(stage: Stage, form: str) -> None:
    write_list(stage.home / "shown.csv", {"anna": stage.canaries[-1].value})
    stage.run("inventory", "convert", "shown.csv", "--out", "secrets/again.csv", "--federated", "contoso.com")
    (stage.secrets / "again.csv").unlink(missing_ok=True)


@path("initial passwords are made", count=1)
def made_passwords(stage: Stage, form: str) -> None:
    write_list(stage.home / "shown.csv", {"anna": "", "ben": ""})
    stage.run("inventory", "convert", "shown.csv", "--out", "secrets/again.csv", "--passwords", "secrets/told.csv")
    told = stage.secrets / "told.csv"
    stage.canaries[:0] = [Canary("made password", each.password or "") for each in read(told).members]
    told.unlink()
    (stage.secrets / "again.csv").unlink()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def count(paths: list[Way]) -> int:
    """Failure paths: each door or fault once, whatever the spelling."""
    return sum(each.count for each in paths)
