import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas
import pytest

from spikelore import folders, plain_yaml, report
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import config_file, sweep, typed
from spikelore.experiments.reproduce import replay
from spikelore.folders import Writer


def test_rows_of_seeds_are_matched_by_their_texts_and_equal_texts_by_order(tmp_path):
    first = [
        {"set": "white", "left": 0.1, "spikes": {"known": 10}, "none": None},
        {"set": "known", "left": 0.8, "list": [1]},
        {"set": "known", "left": 0.4},
    ]
    second = [
        {"set": "known", "left": 0.6},
        {"set": "known", "left": 0.2},
        {"set": "white", "left": 0.3, "spikes": {"known": 30}, "none": 5, "note": "more texts are another row"},
        {"set": "white", "left": 0.3, "spikes": {"known": 30}, "none": 5},
    ]
    for seed, rows in enumerate((first, second)):
        (tmp_path / f"{seed}").mkdir()
        results = {"experiment": "decay", "data": ["x"], "seed": seed, "seconds": 1.0, "versions": {}, "rows": rows}
        (tmp_path / f"{seed}" / "results.json").write_text(json.dumps({**results, "list": [1]}))
    found = sweep._over_seeds([tmp_path / "0", tmp_path / "1"])
    assert found["seeds"] == [0, 1]
    assert [row["set"] for row in found["rows"]] == ["white", "known", "known", "white"]
    white, large, small, noted = found["rows"]
    assert white["left"]["mean"] == pytest.approx(0.2)
    assert white["left"]["deviation"] == pytest.approx(np.sqrt(0.02), abs=1e-6)
    assert white["spikes.known"]["values"] == [10, 30]
    assert white["none"] == {"mean": 5.0, "deviation": None, "values": [5]}
    assert "note" not in white
    assert noted["left"] == {"mean": 0.3, "deviation": None, "values": [0.3]}
    assert large["left"]["values"] == [0.8, 0.6]
    assert small["left"]["values"] == [0.4, 0.2]
    assert "list" not in found
    assert "list" not in large


RESULTS = {"experiment": "replay", "seed": 0, "data": ["x"], "rows": [{"average_accuracy": 0.5}]}


@pytest.fixture
def told(monkeypatch, tmp_path):
    """A configuration whose runs only note themselves; return the notes."""
    runs = []

    def run_all(experiments, data_dir, **how):
        for out, config in experiments.items():
            runs.append((config.label, config.seed, out.as_posix()))
            out.mkdir(parents=True)
            (out / "results.json").write_text(json.dumps(RESULTS))
        return dict.fromkeys(experiments, RESULTS)

    monkeypatch.setattr(config_file, "run_all", run_all)
    monkeypatch.setattr(config_file, "check", lambda config, data_dir: None)
    monkeypatch.setattr(report, "write", lambda out: (out / "report.html").write_text("page"))
    monkeypatch.setattr(folders, "_WAIT_SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)
    Path("replay.yaml").write_text("experiment: replay\nmemory: {images: 8}\n")
    return runs


def start(grid=(), *, resume=False):
    return sweep.sweep(Path("replay.yaml"), grid, 1, Path("swept"), None, resume=resume, jobs=1).pages


def test_a_sweep_goes_into_an_empty_folder_of_ones_own_and_into_no_other(told):
    Path("swept").mkdir()
    assert start() == [Path("swept/all/seed0/report.html")]
    assert told == [("", 0, "swept/all/seed0")]
    with pytest.raises(InputError, match="swept already exists; pass --resume"):
        start()
    assert sorted(os.listdir("swept")) == ["all", "table.parquet"]


def test_a_sweep_that_was_stopped_between_a_run_and_its_page_writes_the_page(told):
    start()
    Path("swept/all/seed0/report.html").unlink()
    start(resume=True)
    assert len(told) == 1
    assert Path("swept/all/seed0/report.html").exists()


def test_a_folder_has_one_sweep_at_a_time(told):
    with Writer(Path("swept")), ThreadPoolExecutor(1) as pool:
        sweeping = pool.submit(start, resume=True)
        with pytest.raises(InputError, match="swept is being written to by another process"):
            sweeping.result()
    assert told == []
    assert not Path("swept").exists()


def test_axes_are_cut_outside_of_brackets():
    points = sweep._points(["network.channels=[4,8],[8,16]", "data=tiny,other"])
    assert points == [
        [("network.channels", channels), ("data", data)]
        for channels in ("[4,8]", "[8,16]")
        for data in ("tiny", "other")
    ]
    assert sweep._points([]) == [[]]


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (["memory.images"], "not of the form key=value,value"),
        (["=3"], "not of the form key=value,value"),
        (["seed=1,2"], "is over the seed, which --seeds sets"),
        (["a=1", "a=2"], "--grid gives a twice"),
        (["a=[1,2"], "brackets or quotes are not closed"),
        (["a=1,"], "has an empty value"),
    ],
)
def test_grids_that_are_refused(grid, says):
    with pytest.raises(InputError, match=says):
        sweep._points(grid)


def test_folder_names_are_safe_and_tell_points_apart():
    def names(*grid):
        return sweep._names(sweep._points(grid))

    assert names() == ["all"]
    assert names("epochs_decision=1,2") == ["epochs_decision=1", "epochs_decision=2"]
    assert names("network.channels=[4,8],[8,16]", "a=-1") == ["network.channels=4,8_a=-1", "network.channels=8,16_a=-1"]
    found = names("data=../a,a/b,größe,~/c,a b")
    assert found == ["data=.._a", "data=a_b", "data=größe", "data=_c", "data=a b"]
    groups = names("g=[[0,1],[2]],[[0],[1,2]]", f"x={'ü' * 300}")
    assert len(set(groups)) == 2
    for name in (*groups, *found):
        assert "/" not in name
        assert len(name.encode()) < 160
    one, other = names("a=X,x")  # the same folder, where case does not count
    assert one.casefold() != other.casefold()
    assert names("a=X,x") == [one, other]


TINY = """experiment: replay
data: digits-sample
stream: {groups: [[0, 1], [2, 3]]}
network: {steps: 2, channels: [4], pool: 4, coding: constant}
learner: {batch: 64}
memory: {images: 8}
"""


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (["data=digits-sample,misspelled"], "^data=misspelled: dataset 'misspelled' is unknown"),
        (["stream.groups=[[0,1],[2,3]],[[0,1],[2,30]]"], r"^stream.groups=.*30\]\]: class 30 has no image"),
        (["memory.images=8,3"], "^memory.images=3: .* fewer than the 4 classes"),
        (["memory.images=8,8"], "the same experiment twice, as memory.images=8 and as memory.images=8; leave one out"),
        (["memory.images=8,0x8"], "the same experiment twice, as memory.images=8 and as memory.images=0x8"),
        (["memory.imags=8,9"], "--memory.imags is not known"),
        (["memory={images: 8},{images: 9}", "memory.images=9"], "--memory.images is given twice"),
        (["network.channels=[4],[4,8"], "brackets or quotes are not closed"),
    ],
)
def test_every_point_is_looked_at_before_the_first_run(grid, says, tmp_path, monkeypatch):
    (tmp_path / "r.yaml").write_text(TINY)
    monkeypatch.setattr(config_file, "run_all", lambda *runs, **how: pytest.fail("a run began"))
    with pytest.raises(InputError, match=says):
        sweep.sweep(tmp_path / "r.yaml", grid, 1, tmp_path / "out", None, resume=False, jobs=1)
    assert not (tmp_path / "out").exists()


def test_the_runs_get_what_their_points_say(tmp_path, monkeypatch):
    (tmp_path / "r.yaml").write_text(TINY.replace("pool: 4", "pool: 2"))
    begun = {}

    def run_all(experiments, data_dir, **how):
        begun.update(experiments)
        return {out: InputError("it does nothing") for out in experiments}

    monkeypatch.setattr(config_file, "run_all", run_all)
    grid = ["network.channels=[4],[4,8]", "label=010,no"]
    monkeypatch.setattr(config_file, "check", lambda config, data_dir: None)
    swept = sweep.sweep(tmp_path / "r.yaml", grid, 1, tmp_path / "out", None, resume=False, jobs=1)
    assert swept.pages == []
    assert str(swept.failed).startswith("4 of 4 runs failed, the first one: ")
    found = {out.relative_to(tmp_path).as_posix(): config for out, config in begun.items()}
    assert [(out, config.network.channels, config.label, config.seed) for out, config in found.items()] == [
        ("out/network.channels=4_label=010/seed0", (4,), "010", 0),
        ("out/network.channels=4_label=no/seed0", (4,), "no", 0),
        ("out/network.channels=4,8_label=010/seed0", (4, 8), "010", 0),
        ("out/network.channels=4,8_label=no/seed0", (4, 8), "no", 0),
    ]


def test_a_run_that_fails_stops_no_other_and_the_table_has_all_that_ended(tmp_path, monkeypatch, capsys):
    (tmp_path / "r.yaml").write_text(TINY)
    run_job = replay.run_job

    def fail_for_some(job, *arguments):
        if job.memory.images == 9:
            raise SpikeloreError("the loss is nan")
        return run_job(job, *arguments)

    monkeypatch.setattr(replay, "run_job", fail_for_some)

    def start(*, resume):
        return sweep.sweep(
            tmp_path / "r.yaml", ["memory.images=8,9,10"], 1, tmp_path / "out", None, resume=resume, jobs=1
        )

    swept = start(resume=False)
    *pages, whole_page = swept.pages
    assert [page.parent.parent.name for page in pages] == ["memory.images=8", "memory.images=10"]
    assert whole_page == tmp_path / "out/report.html"
    assert isinstance(swept.failed, SpikeloreError)
    assert not isinstance(swept.failed, InputError)
    says = r"1 of 3 runs failed, the first one: .*memory.images=9/seed0: the loss is nan; the others are kept"
    assert re.match(says, str(swept.failed))
    assert "images=9/seed0/parts/own-class-incremental-experience_replay-9-seed0: the loss" in capsys.readouterr().err
    table = pandas.read_parquet(tmp_path / "out/table.parquet")
    assert table["memory.images"].tolist() == ["8", "10"]
    assert table["average_accuracy"].between(0, 1).all()
    times = {page: page.stat().st_mtime_ns for page in pages}
    monkeypatch.setattr(replay, "run_job", run_job)
    whole = start(resume=True)
    assert whole.failed is None
    assert {page: page.stat().st_mtime_ns for page in pages} == times
    assert len(pandas.read_parquet(tmp_path / "out/table.parquet")) == 3


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        ("fusion", {"sources": [{"data": "digits-sample"}, {"data": "nothing"}]}, "dataset 'nothing' is unknown"),
        ("fusion", {"sources": [{"data": "digits-sample", "classes": [0, 1]}] * 2, "further": {"data": "nothing"}},
         "dataset 'nothing' is unknown"),
        ("fusion", {"sources": [{"data": "digits-sample", "classes": [0, 1]}] * 2,
                    "further": {"data": "digits-sample", "classes": [1, 5]}},
         "further is digits-sample 1,5 with class 5, which no network knows, expected some of 0, 1"),
        ("decay", {"data": "digits-sample", "unknown": [17]}, "digits-sample has no class 17"),
        ("replay", {"data": "digits-sample", "memory": {"images": 50},
                    "variants": [{}, {"data": "nothing", "label": "x"}]}, "dataset 'nothing' is unknown"),
    ],
)  # fmt: skip
def test_data_are_looked_at_without_learning(kind, values, says):
    common = {"train_per_class": 20, "validation_per_class": 10} if kind != "replay" else {}
    with pytest.raises(InputError, match=says):
        config_file.check(config_file.build(kind, {**common, **values}), None)


def test_the_last_learner_s_data_are_looked_at_before_the_first_learns(tmp_path):
    variants = [{}, {"data": "nothing", "label": "x"}]
    config = config_file.build("replay", {"data": "digits-sample", "memory": {"images": 50}, "variants": variants})
    with pytest.raises(InputError, match="dataset 'nothing' is unknown"):
        config_file.execute(config, tmp_path / "run", None)
    assert not (tmp_path / "run").exists()


def test_runs_of_another_configuration_are_not_taken_for_those_of_the_sweep(tmp_path, monkeypatch):
    """As they were until a file was edited between two calls."""
    file, out = tmp_path / "r.yaml", tmp_path / "out"
    file.write_text(TINY)
    done = out / "memory.images=9" / "seed1"
    done.mkdir(parents=True)
    config = config_file.read(file, ["--memory.images=9", "--seed=1"])
    (done / "config.yaml").write_text(plain_yaml.dump({"experiment": "replay", **typed.plain(config)}))
    (done / "results.json").write_text(json.dumps(RESULTS))
    (done / "report.html").write_text("page")
    begun = []

    def run_all(experiments, data_dir, **how):
        begun.extend(out.relative_to(tmp_path / "out").as_posix() for out in experiments)
        return {out: InputError("it does nothing") for out in experiments}

    monkeypatch.setattr(config_file, "run_all", run_all)
    monkeypatch.setattr(report, "write", lambda out: out / "report.html")
    sweep.sweep(file, ["memory.images=8,9"], 2, out, None, resume=True, jobs=1)
    assert begun == ["memory.images=8/seed0", "memory.images=8/seed1", "memory.images=9/seed0"]
    file.write_text(TINY.replace("steps: 2", "steps: 3"))
    with pytest.raises(InputError, match=r"seed1 was run with another configuration \(network\.steps was 2, now 3\)"):
        sweep.sweep(file, ["memory.images=8,9"], 2, out, None, resume=True, jobs=1)
    assert len(begun) == 3
