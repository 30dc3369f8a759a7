"""The pure parts of the small kubelet: the order of a roll, the verdict of a probe, what a pod is given."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.deploy.kubelet.pod_spec import pod_spec
from tests.deploy.kubelet.probe import ProbeSpec, Verdict
from tests.deploy.kubelet.rollout import PodFacts, Rules, Step, next_step
from tests.deploy.rendered import by_source

RULES = Rules(replicas=3, max_surge=1, max_unavailable=0)


def new(name: str, available: bool = True, ready: bool | None = None) -> PodFacts:
    return PodFacts(name, True, available if ready is None else ready, available)


def old(name: str, available: bool = True) -> PodFacts:
    return PodFacts(name, False, available, available)


@pytest.mark.parametrize(
    ("pods", "step"),
    [
        ([], Step(3, ())),
        ([new("a"), new("b"), new("c")], Step(0, ())),
        ([old("a"), old("b"), old("c")], Step(1, ())),
        ([old("a"), old("b"), old("c"), new("d", available=False)], Step(0, ())),
        ([old("a"), old("b"), old("c"), new("d", available=False, ready=True)], Step(0, ())),
        ([old("a"), old("b"), old("c"), new("d")], Step(0, ("a",))),
        ([old("b"), old("c"), new("d")], Step(1, ())),
        ([old("a"), new("b"), new("c"), new("d")], Step(0, ("a",))),
        ([old("a"), old("b"), old("c"), old("broken", available=False)], Step(0, ("broken",))),
        ([new("a"), new("b"), new("c"), new("d"), new("e", available=False)], Step(0, ("e", "d"))),
        ([new("a"), new("b")], Step(1, ())),
    ],
)
def test_the_next_step_of_a_roll(pods: Sequence[PodFacts], step: Step) -> None:
    assert next_step(pods, RULES) == step


def test_a_whole_roll_never_has_fewer_than_three_available_pods() -> None:
    pods = [old(name) for name in "abc"]
    for number in range(20):
        step = next_step(pods, RULES)
        if step == Step(0, ()) and all(pod.available for pod in pods):
            break
        pods = [pod for pod in pods if pod.name not in step.delete]
        assert sum(pod.available for pod in pods) >= 3
        pods = [PodFacts(pod.name, pod.is_new, True, True) for pod in pods]
        pods += [new(f"n{number}-{each}", available=False) for each in range(step.create)]
        assert len(pods) <= 4
    assert [pod.is_new for pod in pods] == [True] * 3


def test_a_probe_decides_after_failures_in_a_row_and_after_one_success() -> None:
    verdict = Verdict(ProbeSpec("/readyz", 8080, period=2, timeout=1, failures=2))
    seen: list[tuple[bool, bool]] = []
    for ok in (False, True, False, True, False, False, True):
        verdict.record(ok)
        seen.append((verdict.passes, verdict.fails))
    assert seen == [
        (False, False), (True, False), (True, False), (True, False), (True, False), (False, True), (True, False),
    ]  # fmt: skip
    assert verdict.asked == 7


def test_a_pod_gets_its_address_its_name_and_its_secrets() -> None:
    values = {"tokens": {"operator": "o"}, "drainTimeout": 20, "preStopSleep": 5}
    secrets = {
        "grange-stores": {"membership": "redis://cache", "storage": "postgresql://db", "other": "x"},
        "grange-tokens": {"admin": "a", "viewer": "v", "o": "w"},
    }
    spec = pod_spec(by_source(values)["deployment"]["spec"]["template"], "grange-1-p1", "10.77.0.11", secrets)
    assert spec.env["GRANGE_ADVERTISE"] == "10.77.0.11"
    assert spec.env["GRANGE_NAME"] == "grange-1-p1"
    assert spec.files == {
        "membership": "redis://cache", "storage": "postgresql://db", "admin-token": "a", "viewer-token": "v",
        "operator-token": "w",
    }  # fmt: skip
    assert (spec.grace, spec.pre_stop, spec.user) == (80, 5, 10001)
    assert spec.readiness == ProbeSpec("/readyz", 8080, 2, 2, 2)


def test_a_field_that_is_not_played_is_an_error() -> None:
    template = by_source({})["deployment"]["spec"]["template"]
    template["spec"]["initContainers"] = []
    with pytest.raises(ValueError, match="initContainers"):
        pod_spec(template, "grange-1-p1", "10.77.0.11", {})
