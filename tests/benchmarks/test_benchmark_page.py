"""The generated parts of docs/performance.md, its charts, and the table of releases."""

import json
import re
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import chart, history, page
from benchmarks.catalog import FIGURES
from benchmarks.processes import ROOT
from benchmarks.results import Samples, document

PARTS = {"p50": 0.5, "p99": 1.0, "p99.9": 2.0, "client": 10.0, "server": 12.0, "processor": 22.0}


def samples():
    found = Samples(rounds=3)
    wire = {"grange@3.13": 30_000, "casty@3.13": 10_000, "bare packed@3.13": 90_000}
    for callers in (1, 10, 100, 1000):
        for label, value in wire.items():
            for number in range(3):
                found.add(f"throughput-{callers}", label, number, {"value": value + number, **PARTS})
    for number, value in enumerate((5.0, 6.0, 7.0)):
        found.add("local", "grange@3.13", number, {"value": value})
        found.add("local", "nigrains@3.13", number, {"value": 5.0})
    return found


def record(**further):
    introduction = {"python": "3.13.1", "loop": "uvloop", "command": "python -m x"}
    results = {
        "started": "2030-01-02T03:04:05+00:00", "seconds": 600, "command": "python -m benchmarks", "note": None,
        "lengths": {"rounds": 3, "seconds": 1.5},
        "machine": {
            "cpu": "Fast One", "cores": 2, "memory_mib": 8192, "system": "Linux 1", "load_average_at_start": 0.1,
            "commit": "abc123",
        },
        "contestants": {
            "grange@3.13": {**introduction, "versions": {"grpcio": "1.80"}},
            "casty@3.13": {**introduction, "versions": {"casty": "0.9"}},
        },
        "figures": document(list(FIGURES.values()), samples()),
    }  # fmt: skip
    return page.Record("benchmarks/history/0.1.0.json", {**results, **further}, {})


def test_the_run_names_machine_versions_date_and_commit():
    text = page.run(record())
    for word in ("2030-01-02", "abc123", "Fast One", "2 cores", "3.13.1", "grpcio 1.80", "casty 0.9", "0.1.0.json"):
        assert word in text


def test_a_note_about_the_run_is_shown():
    assert "- **the machine was busy**" in page.run(record(note="the machine was busy"))


def test_a_missed_target_is_marked_and_listed():
    assert (
        "| throughput-100 | grange | 3.13 | ≥ 0.5 x bare packed | 0.333 x bare packed@3.13 | **missed** |"
        in page.targets(record())
    )
    text = page.missed(record())
    assert "- throughput-100 of grange on 3.13: 0.333 x bare packed@3.13, target ≥ 0.5 x bare packed" in text
    assert "throughput-10 " not in text


def test_a_peer_that_does_better_is_listed_and_a_limit_is_not():
    assert page.ahead(record()) == "- local: nigrains@3.13 (grange@3.13 / it: 1.20)\n"


def test_a_cell_has_median_and_spread():
    text = page.wire(record())
    assert "| grange@3.13 | 30,001 (30,000 to 30,002) |" in text
    assert "0.5 / 1 / 2" in text
    assert "10 + 12" in text


def test_what_was_not_measured_is_said():
    assert page.loads(record()).count("Not measured in this run.") == 3
    assert "No profile" in page.profile(record())


def test_a_profile_has_a_row_for_each_step_and_a_sum():
    one = {"name": "client", "microseconds": 10.0, "overhead": 0.02}
    client = {**one, "shares": {"b": 0.25, "a": 0.5}, "calls": {"b": 3.0}}
    profile = {"rows": ["b", "a"], "processes": [client]}
    text = page.profile(page.Record("x", record().results, {"profile": profile}))
    assert "| b | 2.5 | 3.0 |\n| a | 5.0 |  |\n" in text
    assert "| sum | 10.0 | 3.0 |" in text
    assert "client +2%" in text


def test_a_hold_of_each_part_of_a_load_is_judged():
    hold = {"longest_ms": 20.5, "collector_ms": 3.0, "iterations": 4}
    stalls = {"expire": hold, "population": {"list": {**hold, "longest_ms": 70.0}, "seconds": 3}}
    text = page.stalls(page.Record("x", record().results, {"stalls": stalls}))
    assert "| expire | 20.5 | 3 | met |" in text
    assert "| population, list | 70 | 3 | **missed** |" in text


def test_only_the_parts_between_the_marks_change():
    text = "a\n<!-- table: missed -->\nold\n<!-- end -->\nb\n"
    new = page.renewed(text, record())
    assert new.startswith("a\n<!-- table: missed -->\n- throughput")
    assert new.endswith("<!-- end -->\nb\n")
    assert page.renewed(new, record()) == new


def test_the_page_has_every_part_and_only_links_to_charts_that_exist():
    text = page.PAGE.read_text("utf-8")
    assert sorted(re.findall(r"<!-- table: (\w+) -->", text)) == sorted(page.PARTS)
    for linked in re.findall(r"\]\((charts/[^)]+)\)", text):
        assert (page.PAGE.parent / linked).exists()


def test_the_page_shows_the_run_that_it_names():
    """Made again with `python -m benchmarks.page benchmarks/history/<version>.json`, not by hand."""
    text = page.PAGE.read_text("utf-8")
    named = re.search(r"all samples: \[[^]]+\]\(\.\./([^)]+)\)", text)
    if named is None:
        pytest.skip("the page shows no run yet")
    found = page.load(ROOT / named[1])
    assert page.renewed(text, found) == text
    for name, svg in page.charts(found.samples).items():
        assert (page.CHARTS / name).read_text("utf-8") == svg


def test_a_chart_has_a_line_for_each_contestant():
    [(name, svg)] = page.charts(samples()).items()
    assert name == "throughput-3.13.svg"
    ElementTree.fromstring(svg)
    assert svg.count("<polyline") == 3
    assert ">bare packed</text>" in svg


def test_a_logarithmic_axis_encloses_the_values_with_powers_of_ten():
    axis = chart.Axis("x", logarithmic=True)
    assert axis.ticks(3, 400) == [1, 10, 100, 1000]
    assert axis.share(10, axis.ticks(1, 100)) == pytest.approx(0.5)


def test_a_linear_axis_starts_at_zero_in_round_steps():
    axis = chart.Axis("x")
    assert axis.ticks(30, 94) == [0, 20, 40, 60, 80, 100]
    assert axis.share(50, axis.ticks(30, 94)) == pytest.approx(0.5)


def test_names_of_lines_do_not_overlap_and_are_escaped():
    series = [chart.Series(name, ((1, 5.0), (2, 5.0))) for name in ("a<b", "c")]
    svg = chart.lines("t", chart.Axis("x"), chart.Axis("y"), series)
    assert "a&lt;b" in svg
    heights = [float(found) for found in re.findall(r'<text x="[\d.]+" y="([\d.]+)" fill="#[^3]', svg)]
    assert len(set(heights)) == 2


def test_a_chart_without_points_is_refused():
    with pytest.raises(ValueError, match="a chart without points: empty"):
        chart.lines("empty", chart.Axis("x"), chart.Axis("y"), [chart.Series("a", ())])


def test_releases_stand_side_by_side_the_oldest_first(tmp_path):
    for name in ("unreleased", "0.10.0", "0.9.0", "0.9.0.profile", "0.9.0.stalls"):
        (tmp_path / f"{name}.json").write_text(json.dumps({}))
    assert [path.stem for path in history.records_in(tmp_path)] == ["0.9.0", "0.10.0", "unreleased"]
    console = Console(width=140, color_system=None)
    with console.capture() as capture:
        console.print(history.history_table({"0.9.0": samples(), "0.10.0": Samples(rounds=1)}))
    [row] = [line for line in capture.get().splitlines() if "throughput-100," in line]
    assert "30,001 (22)" in row
