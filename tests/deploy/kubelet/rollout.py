"""Which pods a Deployment makes and deletes next: the rules of its controller and of its ReplicaSets, without time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PodFacts:
    """One pod that is not being deleted. `available`: it has been ready for `minReadySeconds`."""

    name: str
    is_new: bool
    ready: bool
    available: bool


@dataclass(frozen=True)
class Rules:
    replicas: int
    max_surge: int
    max_unavailable: int


@dataclass(frozen=True)
class Step:
    create: int
    delete: tuple[str, ...]


def next_step(pods: Sequence[PodFacts], rules: Rules) -> Step:
    """The next step of a rolling update, or of a change of `replicas`. `pods` are in the order of their start."""
    new = [pod for pod in pods if pod.is_new]
    old = [pod for pod in pods if not pod.is_new]
    room = rules.replicas + (rules.max_surge if old else 0) - len(pods)
    surplus = _least_useful(new)[: max(0, len(new) - rules.replicas)]
    return Step(
        create=max(0, min(rules.replicas - len(new), room)),
        delete=tuple(pod.name for pod in (*surplus, *_old_to_delete(new, old, rules))),
    )


def _old_to_delete(new: Sequence[PodFacts], old: Sequence[PodFacts], rules: Rules) -> list[PodFacts]:
    """Old pods that are not available first, as long as enough others remain; then available ones above the minimum."""
    least = rules.replicas - rules.max_unavailable
    new_unavailable = sum(not pod.available for pod in new)
    broken = [pod for pod in old if not pod.available]
    dispensable = broken[: max(0, len(new) + len(old) - least - new_unavailable)]
    available = sum(pod.available for pod in (*new, *old))
    surplus = [pod for pod in old if pod.available][: max(0, available - least)]
    return dispensable + surplus


def _least_useful(pods: Sequence[PodFacts]) -> list[PodFacts]:
    """Pods that are not ready first, then the youngest."""
    return sorted(reversed(pods), key=lambda pod: (pod.ready, pod.available))
