"""The objects of the chart for some values: as Helm renders them, and as `deploy.source` computes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import yaml

from deploy.source.__main__ import current
from deploy.source.files import CHART, manifests
from deploy.source.tree import Given
from deploy.source.values import defaults
from tests.architecture.sources import ROOT
from tests.deploy.value_sets import merged

FOLDER = ROOT / "deploy" / "helm" / "grange"


def by_helm(values: Mapping[str, Any], release: str = "grange", folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """The objects that Helm renders, by the names of their templates. Raises HelmError for values that are refused."""
    with helm_python.Chart.load(folder) as chart:
        texts = chart.render(dict(values), name=release, namespace="shop")
    found = {path.rpartition("/")[2].removesuffix(".yaml"): yaml.safe_load(text) for path, text in texts.items()}
    return {name: each for name, each in found.items() if each is not None}


def by_source(values: Mapping[str, Any], release: str = "grange") -> dict[str, Any]:
    """The objects that the source computes, by the names of their files."""
    embedded = {path.removeprefix(CHART): text for path, text in current().items() if path.startswith(CHART)}
    return manifests(Given(merged(defaults(), values), release, embedded))
