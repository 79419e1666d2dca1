from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest

from engine.connections.secrets import Secret, redacted
from engine.contract import Denied
from engine.world import World


def test_the_value_leaves_through_open_only(tmp_path: Path) -> None:
    world = World(environment={"TOKEN": "hunter22"})
    secret = Secret.named("env:TOKEN")
    assert secret.open(world) == "hunter22"
    assert Secret.joined(["Bearer ", secret]).open(world) == "Bearer hunter22"
    assert redacted("server says hunter22!") == "server says «secret env:TOKEN»!"
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret:>30}", repr(vars(type(secret)))):
        assert "hunter22" not in shown
    for writing in (json.dumps, pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            writing(secret)
    assert secret != Secret.named("env:TOKEN")


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("abcd\n")
    assert Secret.named(f"file:{tmp_path / 's'}").open(World(environment={})) == "abcd"
    allowed = World(environment={"MAILMOVE_SECRET_COMMANDS": "allow"})
    assert Secret.named("command:printf wxyz").open(allowed) == "wxyz"
    for name in ("command:printf wxyz", "env:NOTHING", f"file:{tmp_path / 'none'}", "keyring:mailmove/none"):
        with pytest.raises(Denied):
            Secret.named(name).open(World(environment={}))
    with pytest.raises(Denied) as caught:
        Secret.named("command:false").open(allowed)
    assert "CalledProcessError" in caught.value.text


@pytest.mark.parametrize("text", ["hunter22", "vault:x", "env:", ""])
def test_what_is_no_name_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Secret.named(text)
    assert not text or text not in str(caught.value)
