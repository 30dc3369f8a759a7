"""The rules of versions: which hosted version serves a caller, and which of several get new grains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.placement.versions import Compatibility, Selection, VersionOptions, VersionPolicy, VersionRules
from grange.proto.ids import SiloAddress

SILOS = [SiloAddress("10.0.0.1", port, 1) for port in range(5)]
rules = st.builds(VersionRules, st.sampled_from(Compatibility), st.sampled_from(Selection))
versions = st.integers(0, 5)


@pytest.mark.parametrize(
    ("compatibility", "serving"),
    [(Compatibility.BACKWARD, [2, 3]), (Compatibility.ALL, [0, 1, 2, 3]), (Compatibility.STRICT, [2])],
)
def test_a_compatibility_says_which_versions_serve_a_caller(compatibility: Compatibility, serving: list[int]) -> None:
    assert [hosted for hosted in range(4) if VersionRules(compatibility).serves(2, hosted)] == serving


@given(rules, st.integers(1, 5), st.dictionaries(st.sampled_from(SILOS), versions))
def test_only_serving_silos_are_chosen_and_all_of_one_version(
    rules: VersionRules, wanted: int, hosted: dict[SiloAddress, int]
) -> None:
    """VER-01, VER-03: none only if none serves; the latest and the minimum choose every silo of one version."""
    chosen = rules.choose(wanted, hosted)
    serving = [silo for silo, version in hosted.items() if rules.serves(wanted, version)]
    assert set(chosen) <= set(serving)
    assert bool(chosen) == bool(serving)
    if rules.selection is Selection.ALL:
        assert chosen == serving
    elif chosen:
        best = (max if rules.selection is Selection.LATEST else min)(hosted[silo] for silo in serving)
        assert chosen == [silo for silo in serving if hosted[silo] == best]


def test_rules_of_an_interface_come_before_the_default() -> None:
    """VER-04: and a reset restores what was configured."""
    strict, latest = VersionRules(Compatibility.STRICT), VersionRules(selection=Selection.LATEST)
    policy = VersionOptions(selection=Selection.MINIMUM, interfaces={"a": strict}).policy()
    assert policy.of("a") == strict
    assert policy.of("b") == VersionRules(selection=Selection.MINIMUM)
    before = policy.changes
    policy.set_rules("a", latest)
    policy.set_rules("b", strict)
    policy.set_rules("", VersionRules())
    assert (policy.of("a"), policy.of("b"), policy.of("c")) == (latest, strict, VersionRules())
    assert policy.changes == before + 3
    for interface in ("a", "b", ""):
        policy.set_rules(interface, None)
    assert (policy.of("a"), policy.of("b")) == (strict, VersionRules(selection=Selection.MINIMUM))
    assert VersionPolicy().of("x") == VersionRules()
