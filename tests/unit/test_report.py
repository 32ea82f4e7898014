import base64
import hashlib
import html
import json
import math
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas
import pytest

from run_folders import fusion_run as make_run
from spikelore.errors import InputError
from spikelore.report import compare, write
from spikelore.report.fusion import correlation
from spikelore.report.over_runs import Spread, over_runs
from spikelore.report.page import duration
from spikelore.report.runs import read

FIGURES = {
    "activity_full_sum", "activity_histogram", "activity_spread", "activity_top_fraction", "budget",
    "comparison", "confusion", "features_1", "features_2", "features_decision", "training",
}  # fmt: skip


def svg_size(path: Path) -> tuple[float, float]:
    width, height = re.search(r'<svg [^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"', path.read_text()).groups()  # type: ignore[union-attr]
    return float(width), float(height)


def words(page: Path) -> str:
    """Return the page without its figures."""
    return re.sub(r"<svg .*?</svg>", "", page.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run with everything in it."""
    return write(make_run(tmp_path_factory.mktemp("runs") / "run", seed=41))


def test_write_draws_every_figure_and_a_page_that_needs_no_other_file(page: Path):
    assert page.name == "report.html"
    figures = page.parent / "figures"
    expected = {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "pdf")}
    assert {path.name for path in figures.iterdir()} == expected
    for name in FIGURES:
        width, height = svg_size(figures / f"{name}.svg")
        assert 420 <= width <= 730
        assert 70 <= height <= 870
        assert (figures / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
    text = page.read_text()
    assert text.count("<svg ") == text.count("data-marks=") == len(FIGURES)
    assert not re.search(r"https?://|<link|src=|href=\"(?!#|data:)|url\((?!#)", text)
    assert text.count("<script") == 1


def test_the_only_script_is_the_one_whose_digest_the_page_allows(page: Path):
    text = page.read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in text
    assert "default-src &#39;none&#39;" in text


def test_ids_of_figures_are_told_apart(page: Path):
    ids = re.findall(r'\bid="([^"]*)"', page.read_text())
    assert len(ids) == len(set(ids)) > 100
    assert {*re.findall(r'(?:href="#|url\(#)([^")]*)', page.read_text())} <= set(ids)


def test_figures_tell_their_values(page: Path):
    found = re.findall(r'aria-label="([^"]*)" data-marks="([^"]*)"', page.read_text())
    told = {title: [text for _, _, text in json.loads(html.unescape(marks))] for title, marks in found}
    assert len(told) == len(FIGURES)
    assert (
        "fused, mean\naccuracy: 56.5 %\nfeatures of the fused network: 3" in told["How small the fused network may be"]
    )
    assert "45.5 %\ncorrelation\nactivity" not in told["Scores and importances"]
    assert "15.5 %\ncorrelation\nactivity" in told["Scores and importances"]
    assert "validation\nshare of images: 40.0 %\nepoch: 2" in told["Learning the decision layer"]
    assert len(told["Which classes are confused"]) == 4 * 2 * 3
    assert told["What layer 1 learned"] == []
    assert all(len(each) < 5000 for each in told.values())


def test_tables_are_also_files_for_a_paper(page: Path):
    tables = page.parent / "tables"
    names = {"accuracy-on-the-test-sets", "training", "every-score-with-every-importance"}
    assert {path.name for path in tables.iterdir()} == {f"{name}.{kind}" for name in names for kind in ("csv", "tex")}
    rows = pandas.read_csv(tables / "accuracy-on-the-test-sets.csv", keep_default_na=False)
    fused = rows[(rows["network"] == "fused") & (rows["group"] == "Best preset")]
    assert fused["mean"].tolist() == [85.1]
    assert fused["kept by"].tolist() == ["spread"]
    assert "fused & spread & correlation & 6 & 84.6" in (tables / "accuracy-on-the-test-sets.tex").read_text()
    assert r"\begin{tabular}{lrrrrrrr}" in (tables / "training.tex").read_text()
    detail = pandas.read_csv(tables / "every-score-with-every-importance.csv")
    assert detail["activity, detail"].tolist() == ["5.0 / 6.0", "15.0 / 16.0"]


def test_the_page_shows_the_numbers_of_the_results(page: Path):
    text = words(page)
    numbers = ("71.2", "62.3", "84.6", "85.1 %", "97.1", "93.3")
    names = ("network a", "network b", "bagging", "top fraction", "As published", "Best preset", "digits")
    facts = ("1 min 25 s", "numpy 2.4.6", "Linux-test", "spikelore run config.yaml", "sigma_1")
    for shown in (*numbers, *names, *facts):
        assert shown in text, shown
    assert "<dt>Seed</dt><dd>41</dd>" in text
    assert re.search(r"71\.2.*62\.3", text, re.DOTALL), "bagging stands above the fused network"


def test_writing_again_gives_the_same_bytes_and_leaves_settings_alone(tmp_path: Path):
    settings = dict(mpl.rcParams)
    page = write(make_run(tmp_path / "run", extras=False))
    files = [page, *sorted((page.parent / "figures").iterdir()), *sorted((page.parent / "tables").iterdir())]
    assert len(files) == 11
    before = [path.read_bytes() for path in files]
    write(page.parent)
    assert [path.read_bytes() for path in files] == before
    assert dict(mpl.rcParams) == settings


def test_operations_are_shown_where_every_row_has_them(tmp_path: Path):
    run = make_run(tmp_path / "run")
    assert "million operations" not in write(run).read_text()
    results = json.loads((run / "results.json").read_text())
    for n, each in enumerate(results["rows"]):
        each["synops_per_image"] = 12_340_000 + 1_000_000 * n
    (run / "results.json").write_text(json.dumps(results))
    page = write(run).read_text()
    assert "million operations" in page
    assert re.search(r"<td>\s*12\.3\s*</td>", page)
    assert re.search(r"<td>\s*13\.3\s*</td>", page)


def test_three_networks_silent_images_and_one_epoch(tmp_path: Path):
    run = make_run(tmp_path / "run", data=("x", "y", "z"), silent=3)
    first = [line for line in (run / "metrics.jsonl").read_text().splitlines() if '"epoch": 1' in line]
    (run / "metrics.jsonl").write_text("\n".join(first) + "\n")
    assert "c: z" in words(write(run))
    assert len(list((run / "figures").iterdir())) == 2 * len(FIGURES)


def test_without_metrics_and_arrays_the_tables_and_their_figures_remain(tmp_path: Path):
    run = make_run(tmp_path / "run", extras=False)
    assert "84.6" in words(write(run))
    assert {path.stem for path in (run / "figures").iterdir()} == {"budget", "comparison"}


def test_names_from_files_are_shown_not_run(tmp_path: Path):
    page = write(make_run(tmp_path / "run", data=("<script>$x", "a$b_c"), extras=False))
    assert "<script>$x" not in page.read_text()
    assert "&lt;script&gt;$x" in words(page)
    assert "&lt;script&gt;$x" in page.read_text().partition("<svg ")[2].partition("</svg>")[0]
    assert r"a\$b\_c" in (tmp_path / "run/tables/accuracy-on-the-test-sets.tex").read_text()


def test_what_cannot_be_shown_is_replaced(tmp_path: Path):
    run = make_run(tmp_path / "run", data=("\x1b[31mred\x00", "a\nb\ud800\u202e"), extras=False)
    text = write(run).read_text()
    assert "\ufffd[31mred\ufffd" in words(run / "report.html")
    assert "a b\ufffd\ufffd" in words(run / "report.html")
    for file in (*(run / "figures").glob("*.svg"), *(run / "tables").iterdir()):
        text += file.read_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", text)


def test_correlation_is_numpys():
    rng = np.random.default_rng(3)
    x = rng.normal(size=50)
    y = 0.5 * x + rng.normal(size=50)
    assert correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert math.isnan(correlation(x, np.ones(50)))


def test_rows_are_matched_by_what_they_are_not_by_place():
    first = [
        {"name": "fused", "score": "raw", "mean": 0.5},
        {"name": "fused", "score": "centred", "mean": 0.1},
    ]
    second = [
        {"name": "fused", "score": "centred", "mean": 0.3},
        {"name": "fused", "score": "raw", "mean": 0.8},
    ]
    rows = over_runs([first, second], ("name", "score"), ("mean",))
    assert [(each["score"], each["mean"].values) for each in rows] == [
        ("raw", (0.5, 0.8)),
        ("centred", (0.1, 0.3)),
    ]
    spread = rows[0]["mean"]
    assert spread.mean == pytest.approx(0.65)
    assert spread.deviation == pytest.approx(0.3 / math.sqrt(2))
    assert spread.percent() == "65.0 ± 21.2"
    assert Spread((0.5,)).percent() == "50.0"


def test_compare_shows_mean_and_standard_deviation(tmp_path: Path):
    shifts = (0.0, 0.03, 0.09)
    runs = [make_run(tmp_path / f"seed{n}", seed=n, shift=shift) for n, shift in enumerate(shifts)]
    page = compare(runs, tmp_path / "all")
    assert page == tmp_path / "all" / "report.html"
    text = words(page)
    values = 100 * (0.6234 + np.array(shifts))
    assert f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" in text
    assert "<dt>Seeds</dt><dd>0, 1, 2</dd>" in text
    assert {path.stem for path in (tmp_path / "all" / "figures").iterdir()} == {
        "runs",
        "budget",
        "comparison",
    }
    assert not (runs[0] / "report.html").exists()


def test_runs_that_cannot_be_averaged(tmp_path: Path):
    one, other = make_run(tmp_path / "one"), make_run(tmp_path / "other", data=("digits", "clothes"))
    with pytest.raises(InputError, match="two runs or more; it got 1"):
        compare([one], tmp_path / "out")
    with pytest.raises(InputError, match="given twice"):
        compare([one, tmp_path / "other" / ".." / "one"], tmp_path / "out")
    with pytest.raises(InputError, match=r"cannot be averaged: data is .*letters.* and .*clothes"):
        compare([one, other], tmp_path / "out")
    twin = make_run(tmp_path / "twin", seed=1)
    with pytest.raises(InputError, match="is a run folder; choose another"):
        compare([one, twin], one)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_and_one_that_has_not_finished(tmp_path: Path):
    with pytest.raises(InputError, match="is no run folder"):
        write(tmp_path / "missing")
    with pytest.raises(InputError, match="is no run folder"):
        write(tmp_path)
    (tmp_path / "config.yaml").write_text("experiment: fusion\n")
    with pytest.raises(InputError, match=r"has not finished .*--resume"):
        write(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", r"results.json is broken \(.*\); restore it"),
        ("results.json", "[1]", "results.json is broken: it holds no table"),
        (
            "results.json",
            '{"experiment": "sorcery"}',
            "experiment 'sorcery'; there are reports for: .*fusion",
        ),
        ("config.yaml", "a: [", r"config.yaml is not valid YAML: .*; restore it"),
        ("metrics.jsonl", '{"stage": ', r"metrics.jsonl is broken \("),
        (
            "results.json",
            '{"experiment": "fusion"}',
            r"cannot be drawn \(KeyError: 'data'\), expected files as a run of experiment 'fusion' leaves",
        ),
        (
            "results.json",
            '{"experiment": "decay", "data": 3}',
            "cannot be drawn .*, expected files as a run of experiment 'decay' leaves",
        ),
        ("results.json", "[" * 100_000, r"results.json is broken \(it is nested too deeply\)"),
        ("metrics.jsonl", "[1]", "metrics.jsonl is broken: it holds no table"),
        ("arrays.safetensors", "", r"arrays.safetensors"),
        ("environment.json", None, "has no environment.json, so it is no complete run"),
        ("arrays.safetensors", "nonsense", r"arrays.safetensors is broken"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: str | None, message: str):
    run = make_run(tmp_path / "run")
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        write(run)
    assert "\n" not in str(caught.value)
    assert not (run / "report.html").exists()


def test_read_returns_what_is_there(tmp_path: Path):
    run = read(make_run(tmp_path / "run", seed=5))
    assert run.results["seed"] == run.config["seed"] == 5
    assert len(run.metrics) == 6
    assert run.arrays["weights_1"].shape == (5, 6, 5, 5)


@pytest.mark.parametrize(
    ("seconds", "text"), [(42.6, "43 s"), (85.3, "1 min 25 s"), (59.7, "1 min 0 s"), (7501, "2 h 5 min")]
)
def test_durations_in_words(seconds: float, text: str):
    assert duration(seconds) == text
