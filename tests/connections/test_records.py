"""Record data has one written form (D7 of the safety notes), and SPF that RFC 7208 forbids is refused (D6)."""

from __future__ import annotations

import idna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.connections.records import canonical, host, label_of, owner_name, spf_problem, zone_file

LABEL = st.from_regex(r"[a-z][a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(lambda each: "--" not in each)
NATIONAL = st.lists(st.sampled_from("äöüåøéñčžабвгдежзийклмнопαβγδε日本語中文"), min_size=1, max_size=8).map("".join)


def domains(label: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(label, min_size=2, max_size=4).map(".".join)


@settings(max_examples=1000, deadline=None)
@given(domains(LABEL), st.randoms(use_true_random=False), st.sampled_from(["", "."]))
def test_case_and_trailing_dot_make_no_other_name(name: str, random: object, dot: str) -> None:
    spelt = "".join(each.upper() if random.random() < 0.5 else each for each in name)  # type: ignore[attr-defined]
    assert host(spelt + dot) == host(name) == f"{name}."


@settings(max_examples=1000, deadline=None)
@given(domains(LABEL), domains(LABEL))
def test_two_names_are_one_only_when_they_are(one: str, other: str) -> None:
    assert (host(one) == host(other)) == (one == other)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(LABEL, NATIONAL), min_size=1, max_size=3).map(".".join))
def test_a_national_name_and_its_a_label_are_one(name: str) -> None:
    try:
        written = idna.encode(name, uts46=True).decode()
    except idna.IDNAError:  # mixed directions, a digit where none may be: no name by either way
        with pytest.raises(ValueError, match="not a host name"):
            host(name)
        return
    assert host(name) == host(written) == host(name.upper()) == f"{written.lower()}."


@pytest.mark.parametrize("name", ["straße.de", "βόλος.example", "a\u200db.example", "a\u200cb.example"])
def test_a_letter_that_the_two_rules_write_differently_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="xn-- form"):
        host(name)
    assert host("xn--strae-oqa.de") == "xn--strae-oqa.de."


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".de", "con toso.com", "♥.example", "." * 3])
def test_what_is_no_host_name(name: str) -> None:
    with pytest.raises(ValueError):
        host(name)


def test_the_null_mx_is_a_value_of_its_own() -> None:
    assert canonical("MX", "0 .") == "0 ."
    assert canonical("MX", "00 Mail.Contoso.com") == "0 mail.contoso.com."
    with pytest.raises(ValueError, match="preference host"):
        canonical("MX", "mail.contoso.com")


def test_owners_below_a_zone() -> None:
    assert label_of("Autodiscover.contoso.com.", "contoso.com") == "autodiscover"
    assert label_of("contoso.com", "contoso.com.") == "@"
    assert owner_name("@", "Contoso.com") == "contoso.com."
    with pytest.raises(ValueError, match="does not lie"):
        label_of("xcontoso.com", "contoso.com")


@pytest.mark.parametrize(("texts", "problem"), [
    (["v=spf1 include:spf.protection.outlook.com -all"], ""),
    (["v=spf1 -all", "V=SPF1 mx -all"], "two SPF policies"),
    (["v=spf1 -all", "v=spf10 is no policy", "spf2.0/pra -all"], ""),
    (["v=spf1 " + " ".join(f"include:s{n}.example" for n in range(10)) + " -all"], ""),
    (["v=spf1 a " + " ".join(f"include:s{n}.example" for n in range(10)) + " -all"], "11 look-ups"),
    (["v=spf1 +a ~mx ?ptr -exists:x.example redirect=y.example ip4:192.0.2.1 ip6:2001:db8::1 "
      "a:b.example mx/24 a/24 include:z.example include:q.example -include:w.example"], "11 look-ups"),
])
def test_spf_that_would_break_is_refused_before_it_is_written(texts: list[str], problem: str) -> None:
    assert problem in spf_problem(tuple(texts)) and bool(spf_problem(tuple(texts))) == bool(problem)


def test_a_long_text_is_written_in_pieces_of_255_bytes() -> None:
    written = zone_file("TXT", "ä" * 200 + '"\\')
    assert written.count('" "') == 1
    assert written.endswith('\\034\\092"')
