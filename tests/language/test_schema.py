from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import MODULES, Record

from engine.language.schema import WrongType, compiled, kind_of, module_schema, schema_files

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "3600", 3600),
        (bool, "true", True),
        (timedelta, "15 minutes", timedelta(minutes=15)),
        (timedelta, "1 day", timedelta(days=1)),
        (float, "0.5", 0.5),
        (tuple[int, ...], ("1", "2"), (1, 2)),
        (str | None, None, None),
        (Literal["MX", "TXT"], "MX", "MX"),
        (tuple[dict[str, str], ...], ({"a": "b"},), ({"a": "b"},)),
        (str, "012", "012"),
    ],
)
def test_text_is_typed(hint: Any, text: Any, value: Any) -> None:
    assert kind_of(hint).typed(text) == value


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "soon"),
        (int, "9" * 5000),
        (int, "٣"),
        (bool, "yes"),
        (bool, "1"),
        (timedelta, "72"),
        (timedelta, "999999999 weeks"),
        (str, None),
        (Literal["MX"], "mx"),
        (tuple[str, ...], "x"),
        (int, None),
        (str, ("x",)),
        (int, True),
    ],
)
def test_what_does_not_fit_is_refused(hint: Any, text: Any) -> None:
    with pytest.raises(WrongType):
        kind_of(hint).typed(text)


@given(
    st.sampled_from([int, bool, float, timedelta, str, Literal["a", "true"]]),
    st.text(alphabet="0123456789+-. trueminsday", max_size=12) | st.sampled_from(["true", "15 minutes", "7", "a"]),
)
def test_the_schema_accepts_what_is_typed_and_nothing_else(hint: Any, text: str) -> None:
    kind = kind_of(hint)
    try:
        kind.typed(text)
        typed = True
    except WrongType as wrong:
        typed = "too long" in str(wrong)
    assert compiled(kind.schema()).is_valid(text) is typed


def test_a_module_s_schema_says_what_the_class_says() -> None:
    schema = module_schema(Record)
    assert schema["required"] == ["zone"] and schema["description"] == "Keep one record."
    assert schema["properties"]["ttl"]["description"] == "Seconds." and schema["properties"]["ttl"]["default"] == 3600


def test_the_files_are_the_same_every_time() -> None:
    assert schema_files(MODULES) == schema_files(dict(reversed(MODULES.items())))


def test_the_schemas_of_the_project_are_fresh() -> None:
    folder = ROOT / "schemas"
    if not folder.is_dir():
        pytest.skip("not written yet: mailmove schema")
    for name, text in schema_files().items():
        assert (folder / name).read_text(encoding="utf-8") == text, f"schemas/{name} is stale: run mailmove schema"
