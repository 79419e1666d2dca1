"""Published ways out of a template are refused when a playbook is compiled, and stay themselves as data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.language.expressions import Wrong
from engine.language.operations import NO_OUTPUTS, Scope, Unusable
from engine.language.template import PlainNames, compile_text

ESCAPES = yaml.safe_load((Path(__file__).parent / "escapes.yml").read_text(encoding="utf-8"))
HERE = Scope(0, "contoso.com", None, NO_OUTPUTS)
NAMES = {"target": "contoso.com", "names": ("b", "a"), "x": "y"}


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape["source"][:40])
def test_a_published_escape_does_not_run(escape: dict[str, str]) -> None:
    text = escape["text"]
    try:
        found = compile_text(text, PlainNames(NAMES)).evaluate(HERE)
    except (Wrong, Unusable):
        return
    # Statements are no syntax here: outside of {{ }} text is text, and none of it was carried out.
    assert "{%" in text and isinstance(found, str) and "{%" in found
    assert "object at" not in found and "uid=" not in found


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape["source"][:40])
def test_as_data_it_stays_itself(escape: dict[str, str]) -> None:
    names = PlainNames({"row": {"name": escape["text"]}})
    for text in ("{{ row.name }}", "{{ [row.name] | first }}", "{{ row.name ~ '' }}", "{{ row['name'] }}"):
        assert compile_text(text, names).evaluate(HERE) == escape["text"]


#: An escape's parts in other orders, with the tricks by which filters are got around.
_PARTS = st.sampled_from([
    "target", "''", "names", "x", ".__class__", "['__class__']", "|attr('__class__')", ".format(x)", ".__mro__[1]",
    "|map(attribute='__class__')", "['__cl' ~ 'ass__']", ".__init__.__globals__", "()", "|join", " ~ ", "|list",
    "|string", "|default(x.__class__)", " if x else ", "|select('__class__')", "|map('__class__')", "|replace('y', x)"])


@given(st.lists(_PARTS, min_size=2, max_size=8))
def test_variants_reach_no_attribute_of_an_object(parts: list[str]) -> None:
    try:
        found = compile_text("{{ " + "".join(parts) + " }}", PlainNames(NAMES)).evaluate(HERE)
    except (Wrong, Unusable):
        return
    assert isinstance(found, str | tuple | bool | int) or found is None or type(found).__name__ == "Unknown"
    assert "<class" not in str(found) and "object at" not in str(found)
