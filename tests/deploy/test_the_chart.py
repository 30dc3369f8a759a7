"""The chart renders, by Helm itself, to what the source computes; its schema refuses what would not work."""

from __future__ import annotations

import shutil
from pathlib import Path

import helm_python
import pytest
import yaml

from deploy.source.__main__ import committed, current
from deploy.source.files import PLAIN, generated
from tests.architecture.sources import ROOT
from tests.deploy.rendered import FOLDER, by_helm, by_source
from tests.deploy.value_sets import BAD, GOOD


def test_the_committed_files_are_those_of_the_source() -> None:
    assert committed() == current(), "run: python -m deploy.source"


def test_the_same_input_gives_the_same_bytes() -> None:
    sources = {"grafana/b.json": "{}\n", "prometheus/alerts.yaml": "groups: []\n", "grafana/a.json": "{}\n"}
    assert generated("1.2.3", sources) == generated("1.2.3", dict(reversed(sources.items())))


def test_the_plain_manifests_are_the_chart_with_its_defaults() -> None:
    plain = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "deploy" / PLAIN).glob("*.yaml")}
    assert plain == by_helm({})


@pytest.mark.parametrize("name", GOOD)
def test_helm_renders_what_the_source_computes(name: str) -> None:
    assert by_helm(GOOD[name], release="shop-2") == by_source(GOOD[name], release="shop-2")


@pytest.mark.parametrize("name", GOOD)
def test_helm_lint_has_nothing_to_say(name: str) -> None:
    report = helm_python.lint(FOLDER, dict(GOOD[name]), strict=True, kube_version="v1.37.0")
    assert report["total_charts_linted"] == 1
    assert not report["errors"]
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("name", BAD)
def test_the_schema_refuses(name: str) -> None:
    with pytest.raises(helm_python.HelmError, match="schema"):
        by_helm(BAD[name])


def test_rules_and_dashboards_reach_the_cluster_byte_for_byte(tmp_path: Path) -> None:
    """Prometheus' own templates in them are not Helm's."""
    chart = tmp_path / "grange"
    shutil.copytree(FOLDER, chart)
    dashboard = '{"legendFormat": "{{silo}}",\n "b": 1}\n'
    rule = {"alert": "SiloSilent", "expr": "up == 0", "annotations": {"summary": "{{ $labels.silo }}: no answer"}}
    rules = {"groups": [{"name": "grange", "rules": [rule]}]}
    (chart / "dashboards").mkdir(exist_ok=True)
    (chart / "dashboards" / "one.json").write_text(dashboard)
    (chart / "alerts.yaml").write_text(yaml.safe_dump(rules))
    found = by_helm({"prometheusRule": {"enabled": True}, "grafana": {"enabled": True}}, folder=chart)
    assert found["prometheus-rule"]["spec"] == rules
    assert found["dashboards"]["data"]["one.json"] == dashboard
