from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.connections.secrets import Secret
from engine.contract import Unknown
from engine.language.expressions import Wrong
from engine.language.operations import NO_OUTPUTS, Scope, Unusable
from engine.language.template import PlainNames, compile_text

LATER = Unknown("later", ("proof.held_since",))
VALUES = {
    "target": "contoso.com",
    "unknown": LATER,
    "names": ("b", "a", "b"),
    "n": "5",
    "no": False,
    "none_there": None,
    "deep": {"a": {"b": 1}},
    "secret": Secret("env", "TOKEN"),
    "empty": (),
    "people": ({"name": "Anna", "floor": "1"}, {"name": "Bo", "floor": "2"}),
}


def value(text: str) -> Any:
    return compile_text(text, PlainNames(VALUES)).evaluate(Scope(0, "contoso.com", None, NO_OUTPUTS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ target }}", "contoso.com"),
        ("_dmarc.{{ target }}.", "_dmarc.contoso.com."),
        ("{{ names }}", ("b", "a", "b")),
        ("{{ names | unique | sort | join(', ') }}", "a, b"),
        ("{{ n > 3 }}", True),
        ("{{ n == 5 and not no }}", True),
        ("{{ deep.a.b + 1 }}", 2),
        ("{{ deep['a'].b }}", 1),
        ("{{ longest(hours(72), seconds(n)) }}", timedelta(hours=72)),
        ("{{ hours(1) - minutes(n) }}", timedelta(minutes=55)),
        ("{{ 'yes' if target in ['contoso.com'] else 'no' }}", "yes"),
        ("{{ none_there | default('x') }}", "x"),
        ("{{ people | select('floor', '2') | map('name') }}", ("Bo",)),
        ("{{ count(people) }}", 2),
        ("{{ all(people, floor='1') }}", False),
        ("{{ any(people, floor='1') }}", True),
        ("{{ all(empty, empty='ok') }}", True),
        ("{{ '}}' ~ target | upper | replace('.COM', '') }}", "}}CONTOSO"),
        ("{{ '12' | int }}", 12),
        ("a\n{# b #}\r\n", "a\n{# b #}\r\n"),
        ("{{ -n | int }}", -5),
        ("{{ max(1, 3) }}", 3),
        ("{{ names | first }}{{ names | length }}", "b3"),
        ("{% x %}", "{% x %}"),
    ],
)
def test_values(text: str, expected: object) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ unknown and no }}", False),
        ("{{ no and unknown }}", False),
        ("{{ unknown or not no }}", True),
        ("{{ not no or unknown }}", True),
    ],
)
def test_unknown_gives_way_only_to_what_decides(text: str, expected: bool) -> None:
    assert value(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "{{ unknown }}",
        "x {{ unknown }}",
        "{{ unknown.a.b }}",
        "{{ unknown == 1 }}",
        "{{ unknown in names }}",
        "{{ not unknown }}",
        "{{ unknown and not no }}",
        "{{ unknown or no }}",
        "{{ unknown | default('x') }}",
        "{{ unknown | upper }}",
        "{{ [unknown, 1] }}",
        "{{ longest(hours(1), unknown) }}",
        "{{ 1 if unknown else 2 }}",
        "{{ unknown + 1 }}",
        "{{ all(empty) }}",
        "{{ any(empty) }}",
        "{{ target ~ unknown }}",
        "{{ [unknown] | join }}",
        "{{ max(empty) }}",
        "{{ deep.missing }}",
    ],
)
def test_unknown_passes_through(text: str) -> None:
    assert isinstance(value(text), Unknown)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ target['__class__'] }}",
        "{{ target.__init__.__globals__ }}",
        "{{ 'a' * 9 }}",
        "{{ 2 ** 99 }}",
        "{{ open('x') }}",
        "{{ target.upper() }}",
        "{{ range(9) }}",
        "{{ self }}",
        "{{ cycler }}",
        "{{ lipsum }}",
        "{{ '%s' | format(1) }}",
        "{{ target | attr('x') }}",
        "{{ {'a': 1} }}",
        "{{ target[0:2] }}",
        "{{ target is defined }}",
        "{{ 'a'.b.c }}",
        "{{ 7 // 2 }}",
        "{{ x for x in names }}",
        "{{ all(*names) }}",
        "{{ all(**deep) }}",
        "{{ 1 < 2 < 3 }}",
        "{{ target, }}{% x %}{{",
        "{{ }}",
        "{{ a b }}",
        "{{ " + "(" * 33 + "1" + ")" * 33 + " }}",
        "{{ " + "not " * 900 + "no }}",
        "{{ target" + ".a" * 1500 + " }}",
        "{{ " + "1" * 5000 + " }}",
        "{{ " + "9" * 19 + " }}",
        "{{ deep" + "['a']" * 600 + " }}",
        "{{ 'a' + 1 }}",
        "{{ " + "- " * 2000 + "1 }}",
    ],
)
def test_what_is_not_allowed_is_refused_when_compiled(text: str) -> None:
    with pytest.raises(Wrong):
        compile_text(text, PlainNames(VALUES))


@pytest.mark.parametrize(
    "text",
    [
        "{{ target and no }}",
        "{{ not names }}",
        "{{ target > 3 }}",
        "{{ target + 1 }}",
        "x {{ none_there }}",
        "{{ secret | upper }}",
        "{{ secret == 'x' }}",
        "{{ all(target) }}",
        "{{ people | sort }}",
        "{{ people | map('flor') }}",
        "{{ 1 if names else 2 }}",
        "{{ 'x' in secret }}",
        "{{ secret | replace('a', 'b') }}",
        "{{ secret + 1 }}",
        "{{ secret | length }}",
    ],
)
def test_nothing_is_guessed(text: str) -> None:
    with pytest.raises(Unusable):
        value(text)


def test_a_secret_taints_the_text() -> None:
    found = value("Bearer {{ secret }}")
    assert isinstance(found, Secret) and "TOKEN" in str(found)


def test_text_cannot_grow_without_end() -> None:
    names = PlainNames({"big": "x" * 1000})
    with pytest.raises(Unusable, match="1 MiB"):
        compile_text("{{ " + "big.replace"[:3] + " | replace('x', '" + "y" * 2000 + "') }}", names).evaluate(
            Scope(0, "", None, NO_OUTPUTS)
        )


def test_what_an_evaluation_gives_is_never_compiled() -> None:
    names = PlainNames({"x": "{{ target }}"})
    assert (
        compile_text("{{ x }} {{ x | upper }}", names).evaluate(Scope(0, "", None, NO_OUTPUTS))
        == "{{ target }} {{ TARGET }}"
    )


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_braces_stays_itself(text: str) -> None:
    assert compile_text(text, PlainNames({})).evaluate(Scope(0, "", None, NO_OUTPUTS)) == text


@given(st.text())
def test_data_stays_data(text: str) -> None:
    assert compile_text("{{ x }}", PlainNames({"x": text})).evaluate(Scope(0, "", None, NO_OUTPUTS)) == text


@given(st.text(alphabet="{}()[]'\"|.~+-*/%&<>=! aAnot1,:_x\\\n", max_size=60))
def test_the_compiler_refuses_or_compiles(text: str) -> None:
    with contextlib.suppress(Wrong):
        compile_text("{{" + text + "}}", PlainNames(VALUES))
