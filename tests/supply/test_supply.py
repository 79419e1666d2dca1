"""Hashes, licences and known weaknesses of everything that is locked; needs no network."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from tests.supply.licences import ALLOWED, LOCK, PAGE, ROOT, Locked, licence, locked, page

ADVISORIES = yaml.safe_load((Path(__file__).parent / "advisories.yml").read_text(encoding="utf-8"))
DIRECT_MAX = 20


def weak(pins: list[Locked]) -> list[str]:
    """Pins below the version that mends a known weakness."""
    return [f"{pin.name} {pin.version}: {each['id']}, mended in {each['fixed']}" for pin in pins
            for each in ADVISORIES["advisories"] if each["package"] == pin.name
            and Version(pin.version) < Version(str(each["fixed"]))]


def test_no_locked_version_is_known_to_be_weak() -> None:
    assert weak(locked()) == []


@pytest.mark.parametrize(("name", "version"), [("jinja2", "3.1.5"), ("requests", "2.32.3"), ("urllib3", "2.4.0")])
def test_a_weak_version_is_found(name: str, version: str) -> None:
    assert len(weak([Locked(name, version, 1)])) >= 1


def test_every_advisory_is_about_something_that_is_locked() -> None:
    assert {each["package"] for each in ADVISORIES["advisories"]} <= {pin.name for pin in locked()}


def test_every_pin_has_its_hashes_and_names_no_index() -> None:
    assert all(pin.hashes for pin in locked())
    pinned = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    assert not [line for line in pinned if re.search(r"index-url|https?://|git\+|file:", line)]


def test_every_licence_is_known_and_goes_with_ours() -> None:
    assert {pin.name: licence(pin.name) for pin in locked() if not ALLOWED.search(licence(pin.name))} == {}


def test_the_page_of_licences_is_as_the_packages_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make docs"


def test_direct_dependencies_are_few_and_each_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [Requirement(each).name for each in project["dependencies"]]
    told = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert len(names) <= DIRECT_MAX
    assert [name for name in names if f"| {name} " not in told] == []
