"""The decay experiment as a user types it, stopped and resumed, and given what has no sense."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from spikelore import cli, report
from spikelore.files import load_tensors

SPIKELORE = str(Path(sys.executable).with_name("spikelore"))
CLASSES = {"classes": [0, 1]}
SMALL = {
    "experiment": "decay",
    "data": "digits-sample",
    "unknown": [2, 3],
    "train_per_class": 300,
    "validation_per_class": 20,
    "test_images": 60,
    "epochs": 2,
    "published": {"network": {**CLASSES, "neurons_per_class": 5}, "decay": {"tau_prune_ms": 5000}},
    "best": {
        "network": {**CLASSES, "neurons_per_class": 6, "dt_ms": 0.5, "rate_hz_per_level": 0.4, "learning_rate": 0.004},
        "decay": {"tau_prune_ms": 5000, "period_images": 25},
    },
    "l2_tau_ms": [6e6],
}
TRAININGS = [
    f"{preset}_{name}"
    for preset, names in {"published": ["without", "l2_6e+06"], "best": ["without", "with", "l2_6e+06"]}.items()
    for name in names
]


def call(monkeypatch, *words):
    """Run the command in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["spikelore", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a small configuration and its finished run."""
    folder = tmp_path_factory.mktemp("decay")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, "run", folder / "small.yaml", "--out", folder / "done") == 0
    return folder


def test_results_have_the_promised_form(small, learned):
    done = small / "done"
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "results.json", "report.html"):
        assert (done / name).stat().st_size > 0, name
    results = json.loads((done / "results.json").read_text())
    assert {"experiment", "seed", "seconds", "data", "versions"} <= set(results)
    assert results["data"] == ["digits-sample 0,1", "unknown 2,3"]
    assert [(row["preset"], row["set"]) for row in results["rows"]] == [
        (preset, name) for preset in ("published", "best") for name in ("white", "blurred", "known", "unknown")
    ]
    for row in results["rows"]:
        assert row["method"] == {"published": "unused decay, once", "best": "unused decay, online"}[row["preset"]]
        assert row["spikes_without"] > 0
        assert row["left"] == pytest.approx(row["spikes_with"] / row["spikes_without"], abs=1e-6)
        if row["set"] in ("white", "blurred"):
            learned(f"{row['preset']}, {row['set']}: left", row["left"], at_most=0.4)
    best = {row["decay"]: row for row in results["accuracy"] if row["preset"] == "best"}
    assert results["accuracy_without"] == best["without"]["accuracy"]
    assert results["accuracy_with"] == best["with"]["accuracy"]
    learned("accuracy without", results["accuracy_without"], at_least=0.9)
    learned("accuracy with", results["accuracy_with"], at_least=0.9)
    learned("unrecognised with", best["with"]["unrecognised"], at_most=0.1)


def test_baselines_stand_beside_decay_at_the_same_sparsity(small, learned):
    methods = json.loads((small / "done" / "results.json").read_text())["methods"]
    names = ["unused decay, once", "smallest pruned", "random pruned", "L2-like, 6000 s"]
    found = {(row["preset"], row["method"]): row for row in methods}
    assert [name for preset, name in found if preset == "published"] == ["none", *names]
    assert [name for preset, name in found if preset == "best"] == ["none", "unused decay, online", *names]
    for preset, decayed in (("published", "unused decay, once"), ("best", "unused decay, online")):
        sparse = found[preset, decayed]["faded"]
        learned(f"{preset}: faded by decay", sparse - found[preset, "none"]["faded"], at_least=0.1)
        for pruned in ("smallest pruned", "random pruned"):
            assert found[preset, pruned]["faded"] == pytest.approx(sparse, abs=0.01)
    noise = found["best", "none"]["spikes"]["white"] / found["best", "unused decay, online"]["spikes"]["known"]
    learned("spikes of noise without decay over those of digits with it", noise, at_least=1 / 6)


def test_checkpoints_are_those_of_the_trainings_and_evaluate(small, capsys, monkeypatch):
    made = {path.stem for path in (small / "done" / "checkpoints").glob("*.safetensors")}
    assert made == {*TRAININGS, "published_with"}
    before, after = (
        load_tensors(small / f"done/checkpoints/published_{name}.safetensors")[0] for name in ("without", "with")
    )
    idle = before["step"][0] * 0.1 - before["last_input_spike"] * 0.1
    np.testing.assert_allclose(after["weights"], before["weights"] * np.exp(-((idle / 5000) ** 2))[:, None], rtol=1e-12)
    words = ["evaluate", small / "done", "--data", "digits-sample"]
    assert call(monkeypatch, *words, "--classes", "0", "1") == 0
    printed = capsys.readouterr().out
    assert "200 test images" in printed
    assert all(name in printed for name in (*TRAININGS, "published_with"))
    assert call(monkeypatch, *words, "--classes", "0", "11") == 2
    assert "digits-sample has no class 11" in capsys.readouterr().err
    assert call(monkeypatch, "evaluate", small / "done/arrays.safetensors", "--data", "digits-sample") == 2
    assert "holds 'no format', expected a first-spike, a" in capsys.readouterr().err


def test_killed_in_the_online_training_and_resumed_ends_the_same(small):
    out = small / "killed"
    process = subprocess.Popen(
        [SPIKELORE, "run", str(small / "small.yaml"), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = out / "parts" / "best_with" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "results.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write", lambda folder: folder / "report.html")  # drawn once is enough
        assert call(patch, "run", small / "small.yaml", "--out", out, "--resume") == 0
    for name in (*TRAININGS, "published_with"):
        whole, resumed = (
            load_tensors(small / run / f"checkpoints/{name}.safetensors")[0] for run in ("done", "killed")
        )
        assert whole.keys() == resumed.keys()
        for key in whole:
            np.testing.assert_array_equal(whole[key], resumed[key])
    for name in ("metrics.jsonl", "arrays.safetensors"):
        assert (out / name).read_bytes() == (small / "done" / name).read_bytes()
    first, second = (json.loads((small / run / "results.json").read_text()) for run in ("done", "killed"))
    del first["seconds"], second["seconds"]
    assert first == second


def test_an_interrupted_run_says_how_to_go_on(small, capsys, monkeypatch):
    from spikelore.experiments import parts
    from spikelore.experiments.run_folder import RunFolder

    append, lines = RunFolder.append_metrics, []

    def interrupt(self, **values):
        append(self, **values)
        lines.append(values)
        if len(lines) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "append_metrics", interrupt)
    monkeypatch.setattr(parts, "_SAVE_SECONDS", 0.0)
    assert call(monkeypatch, "run", small / "small.yaml", "--jobs", 1, "--out", small / "stopped") == 130
    assert "interrupted; go on with the same command and --resume" in capsys.readouterr().err
    monkeypatch.setattr(RunFolder, "append_metrics", append)
    assert call(monkeypatch, "report", small / "stopped") == 2
    assert "has not finished" in capsys.readouterr().err
    assert call(monkeypatch, "run", small / "small.yaml", "--out", small / "stopped") == 2
    assert "--resume" in capsys.readouterr().err
    assert (small / "stopped" / "parts" / TRAININGS[0] / "checkpoints" / "state.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--published.network.rate_hz_per_level", "-1"], "rate_hz_per_level is -1.0, expected 0 or more"),
        (["--published.network.rate_hz_per_level", ".nan"], "has the number .nan, expected a finite one"),
        (["--published.network.rate_hz_per_level", "nan"], "rate_hz_per_level"),
        (["--published.network.classes", "[7]"], "classes are [7], expected at least two"),
        (["--best.network.classes", "[7, 4]"], "networks have classes [0, 1] and [7, 4]; give both the same"),
        (["--best.network.neurons_per_class", "0"], "neurons_per_class is 0, expected at least 1"),
        (
            ["--best.network.dt_ms", "20"],
            "dt_ms is 20.0, expected more than 0 and at most exc_conductance_tau_ms = 5.0",
        ),
        (["--best.network.height", "20", "--published.network.height", "20"], "configure the network for their size"),
        (["--best.decay.tau_prune_ms", "0"], "tau_prune_ms is 0.0, expected a time greater than 0"),
        (["--best.decay.strength", "-1"], "strength is -1.0, expected 0 or more"),
        (["--best.decay.period_images", "0"], "period_images is 0, expected at least 1"),
        (["--l2_tau_ms", "[0]"], "tau_ms is 0.0, expected a time greater than 0"),
        (["--unknown", "[0]"], "class 0 is both known and unknown"),
        (["--unknown", "[17]"], "digits-sample has no class 17"),
        (["--test_images", "5000"], "expected at least 5000"),
        (["--train_per_class", "0"], "train_per_class is 0"),
        (["--presets", "[]"], "presets are []"),
        (["--seed", "-1"], "seed is -1, expected 0 or more"),
    ],
)
def test_bad_input_is_refused_in_a_sentence_and_leaves_nothing(small, capsys, monkeypatch, words, says):
    assert call(monkeypatch, "run", small / "small.yaml", *words, "--out", small / "bad") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert says in lines[0]
    assert not (small / "bad").exists()


def test_reproduce_takes_classes_and_a_preset(small, capsys, monkeypatch, learned):
    out = small / "reproduced"
    words = ["reproduce", "decay", "--classes", "1", "0", "--preset", "published"]
    assert call(monkeypatch, *words, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "unknown 9,2" in printed
    assert str(out / "report.html") in printed
    results = json.loads((out / "results.json").read_text())
    assert {row["preset"] for row in results["rows"]} == {"published"}
    assert results["accuracy_with"] == results["accuracy"][1]["accuracy"]
    learned("accuracy", results["accuracy_with"], at_least=0.95)
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["published"]["network"]["classes"] == [1, 0]
    assert config["published"]["decay"]["tau_prune_ms"] == 5000.0
    assert call(monkeypatch, "reproduce", "decay", "--classes", "7", "--out", small / "one") == 2
    assert "classes are [7], expected at least two" in capsys.readouterr().err


def test_bench_lif_checks_its_results(capsys, monkeypatch):
    assert call(monkeypatch, "bench", "lif", "--images", "16") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [(row["preset"], row["work"]) for row in answer["rows"]] == [
        (preset, work) for preset in ("published", "best") for work in ("training", "testing")
    ]
    assert all(row["ms_per_image"] > 0 for row in answer["rows"])
    assert call(monkeypatch, "bench", "lif", "--images", "3") == 2


def test_bench_lif_does_not_count_a_speed_with_other_spikes(capsys, monkeypatch):
    from spikelore.networks.rate_lif import RateLIFNetwork

    count = RateLIFNetwork.count_spikes
    monkeypatch.setattr(
        RateLIFNetwork, "count_spikes", lambda self, images: count(self, images) + (self._backend == "reference")
    )
    assert call(monkeypatch, "bench", "lif", "--images", "16") == 1
    assert "differ from the reference" in capsys.readouterr().err
