"""Every command as a user types it, wrong input included."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import yaml
from commands import SPIKELORE, finished, refused, run

import spikelore as sl
from spikelore.data import load, write_idx
from spikelore.experiments.run_folder import RunFolder
from spikelore.files import load_tensors
from spikelore.folders import Writer
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.first_spike import FirstSpikeNetwork

SMALL = {
    "experiment": "fusion",
    "sources": [
        {"data": "digits-sample", "classes": [0, 1]},
        {"data": "digits-sample", "classes": [2, 3]},
    ],
    "train_per_class": 60,
    "validation_per_class": 20,
    "test_per_class": 30,
    "epochs_layer_1": 16,
    "epochs_layer_2": 32,
    "epochs_decision": 6,
    "consolidation": {"epochs": 4},
    "further": {"data": "digits-sample", "classes": [2, 3]},
    "further_epochs": 2,
    "protected": [0.5, 1.0],
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a small configuration and its finished run."""
    return finished(tmp_path_factory.mktemp("cli"), SMALL)


def test_run_folder(small, learned):
    done = small / "done"
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "results.json", "report.html"):
        assert (done / name).stat().st_size > 0, name
    results = json.loads((done / "results.json").read_text())
    assert {"experiment", "seed", "seconds", "data", "versions", "rows"} <= set(results)
    names = [row["name"] for row in results["rows"]]
    assert {"network a", "network b", "bagging", "fused"} <= set(names)
    for row in results["rows"]:
        assert 0 <= row["a"] <= 1
        assert 0 <= row["b"] <= 1
        assert row["features"] == (400 if row["name"] == "bagging" else 200)
    single, bagging = (results["rows"][names.index(name)] for name in ("network a", "bagging"))
    assert 0 < single["synops_per_image"] < bagging["synops_per_image"] < 2 * single["synops_per_image"]
    network_a = results["rows"][names.index("network a")]
    learned("network a on its own digits", network_a["a"], at_least=0.8)  # zeros and ones are easy
    assert network_a["b"] == 0  # it has never seen a two or a three


def test_config_of_a_run_reruns_it(small):
    run("run", "done/config.yaml", "--out", "again", cwd=small)
    first, second = (json.loads((small / name / "results.json").read_text()) for name in ("done", "again"))
    del first["seconds"], second["seconds"]
    assert first == second


@pytest.mark.parametrize(("stage", "epochs"), [("decision", 3), ("consolidation", 3)])
def test_killed_and_resumed_ends_the_same(small, stage, epochs):
    out = small / f"killed in {stage}"
    process = subprocess.Popen(
        [SPIKELORE, "run", "small.yaml", "--out", str(out)],
        cwd=small,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = out / "parts" / "a" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count(f'"{stage}"') >= epochs):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "results.json").exists()
    run("run", "small.yaml", "--out", out, "--resume", cwd=small)
    for name in ("network_a", "network_b_last", "templates_a", "templates_b", "fused", "further_50"):
        whole, resumed = (load_tensors(run / f"checkpoints/{name}.safetensors")[0] for run in (small / "done", out))
        for key in whole:
            np.testing.assert_array_equal(whole[key], resumed[key])
    assert (out / "metrics.jsonl").read_text() == (small / "done" / "metrics.jsonl").read_text()
    assert (out / "arrays.safetensors").read_bytes() == (small / "done" / "arrays.safetensors").read_bytes()


def test_a_fused_network_goes_on_learning(small):
    results = json.loads((small / "done/results.json").read_text())
    before, half, all_protected = results["further"]
    assert [row["protected"] for row in results["further"]] == [None, 0.5, 1.0]
    (fused,) = [row for row in results["rows"] if row["name"] == "fused" and row["preset"] == "best"]
    assert before["further"] == fused["b"]  # the same images, here
    assert half["further"] != before["further"]
    assert {**all_protected, "protected": None, "learned": "before"} == before  # nothing may change


def test_fuse_evaluate_report(small):
    checkpoints = [f"done/checkpoints/network_{name}.safetensors" for name in "ab"]
    run("fuse", *checkpoints, "--out", "fused", cwd=small)
    assert "accuracy" in run("evaluate", "fused/fused.safetensors", "--data", "digits-sample", cwd=small).stdout
    assert "report.html" in run("report", "done", cwd=small).stdout
    raw = run(
        "fuse",
        *checkpoints,
        "--out",
        "raw",
        "--importance",
        "top fraction",
        "--score",
        "raw",
        "--size",
        "100",
        cwd=small,
    )
    assert "100 units by top fraction, classes 0, 1, 2, 3" in raw.stdout


def test_fuse_refusals(small):
    a, b = (f"done/checkpoints/network_{name}.safetensors" for name in "ab")
    assert "two or more" in refused("fuse", a, "--out", "x", cwd=small)
    line = refused("fuse", a, b, "--out", "x", "--budget", "1:0=5", "--budget", "1:0=6", cwd=small)
    assert "repeats class 0 of network 1" in line
    assert "has 100 of that class" in refused(
        "fuse", a, b, "--out", "x", "--budget", "1:0=101", "--budget", "2:2=5", cwd=small
    )
    network = FirstSpikeNetwork.load(small / b)
    replace(network, weights_1=network.weights_1[::-1].copy()).save(small / "other.safetensors")
    assert "does not share its feature layers" in refused("fuse", a, "other.safetensors", "--out", "x", cwd=small)
    broken = bytearray((small / a).read_bytes())
    broken[len(broken) // 2] ^= 1
    (small / "broken.safetensors").write_bytes(broken)
    assert "damaged" in refused("fuse", a, "broken.safetensors", "--out", "x", cwd=small)
    assert not (small / "x").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing"], "no command 'nothing'"),
        (["run", "small.yaml", "--sede", "3"], "--sede"),
        (["run", "small.yaml", "--train_per_class", "many"], "train_per_class"),
        (["run", "small.yaml", "--train_per_class", "0"], "train_per_class is 0"),
        (["run", "missing.yaml"], "missing.yaml"),
        (["run", "small.yaml", "--out", "done"], "--resume"),
        (["run", "small.yaml", "--out", "done", "--resume", "--seed", "9"], "seed was 0, now 9"),
        (["evaluate", "nowhere"], "nowhere does not exist"),
        (["run", "small.yaml", "--experiment", "decay"], "--experiment is given beside a file of experiment fusion"),
        (["run", "small.yaml", "--consolidation.epoch", "3"], "--consolidation.epoch is not known"),
        (["run", "small.yaml", "--re"], "--re"),
        (["sweep", "small.yaml", "--grid", "consolidation.epoch=3", "--out", "x"], "consolidation.epoch is not known"),
        (["sweep", "small.yaml", "--grid", "seed=1,2", "--seeds", "2"], "is over the seed"),
        (["sweep", "small.yaml", "--seed", "2"], "--seed"),
        (["report", "done", "--ou", "x"], "--ou"),
        (["reproduce", "fusion", "--scal", "quick"], "--scal"),
        (["data", "fetch", "nothing"], "cannot be fetched"),
        (["report", "."], "."),
        (["reproduce", "fusion", "--data-a", "digits-sample"], "--data-b"),
    ],
)
def test_bad_input(small, words, says):
    assert says in refused(*words, cwd=small)


def test_unknown_key_in_a_file(small):
    (small / "typo.yaml").write_text(yaml.safe_dump({**SMALL, "epochs": 3}))
    assert "epochs is not known, expected one of sources, seed," in refused("run", "typo.yaml", cwd=small)


@pytest.mark.parametrize(("text", "says"), [("# nothing\n", "is empty"), ("- 3\n", "holds no names with values")])
def test_a_file_without_a_configuration(small, text, says):
    (small / "none.yaml").write_text(text)
    assert f"none.yaml {says}" in refused("run", "none.yaml", cwd=small)


def own_data(folder, change):
    """A dataset folder made from shipped digits, changed by ``change(images, labels)``."""
    digits = load("digits-sample")
    for stem, part in (("train", digits.train), ("t10k", digits.test)):
        images, labels = part.inputs.copy(), part.labels.astype(np.uint8)
        if stem == "train":
            images, labels = change(images, labels)
        write_idx(folder / "own" / f"{stem}-images-idx3-ubyte.gz", images)
        write_idx(folder / "own" / f"{stem}-labels-idx1-ubyte.gz", labels)


def blank(images, labels):
    images[:] = 0
    return images, labels


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (blank, "blank image"),
        (lambda images, labels: (images, labels[:-1]), "labels"),
        (lambda images, labels: (images[:, :20, :20], labels), "20"),
    ],
)
def test_bad_data(small, tmp_path, change, says):
    (tmp_path / "own").mkdir()
    own_data(tmp_path, change)
    line = refused(
        "reproduce",
        "fusion",
        "--data-a",
        "own",
        "--data-b",
        "own",
        "--data-dir",
        tmp_path,
        "--out",
        "bad",
        cwd=tmp_path,
    )
    assert says in line


def test_a_run_that_is_going_on_is_left_alone(small):
    elsewhere = ThreadPoolExecutor(1)  # another thread counts as another process
    with elsewhere.submit(RunFolder, small / "going", {}, resume=False).result():
        line = refused("run", "small.yaml", "--out", "going", "--resume", cwd=small)
        assert f"going is being written to by another process ({os.getpid()} on " in line
        fused = [f"done/checkpoints/network_{name}.safetensors" for name in "ab"]
        assert "is being written to" in refused("fuse", *fused, "--out", "going", cwd=small)
        assert sorted(os.listdir(small / "going")) == [".lock", "config.yaml", "environment.json"]
    with elsewhere.submit(Writer, small / "done").result():
        assert "is being written to" in refused("report", "done", cwd=small)


def test_what_a_terminal_cannot_show_is_shown_by_number(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    (tmp_path / "größe").mkdir()
    (tmp_path / "größe" / "train-images-idx3-ubyte").touch()
    for words, code, stream in ((["größe"], 2, "stderr"), (["data", "check", "--data-dir", tmp_path], 1, "stdout")):
        done = subprocess.run([SPIKELORE, *words], env=environment, capture_output=True)
        assert done.returncode == code
        assert b"gr\\xf6\\xdfe" in getattr(done, stream)
        assert b"Traceback" not in done.stderr


def test_truncated_data(small, tmp_path):
    (tmp_path / "own").mkdir()
    own_data(tmp_path, lambda images, labels: (images, labels))
    file = tmp_path / "own" / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:5000])
    line = refused("reproduce", "fusion", "--data-a", "own", "--data-b", "own", "--data-dir", tmp_path, cwd=tmp_path)
    assert "train-images" in line


def test_help_and_lists(small):
    assert "reproduce" in run("--help", cwd=small).stdout
    assert "--scale" in run("reproduce", "fusion", "--help", cwd=small).stdout
    assert "digits-sample" in run("data", "list", cwd=small).stdout
    run("data", "check", cwd=small)
    module = subprocess.run([sys.executable, "-m", "spikelore", "--help"], capture_output=True, text=True)
    assert module.stdout == run("--help", cwd=small).stdout


def test_a_reader_that_stops_early_is_no_error(small):
    for words in ("--help", "data list"):
        done = subprocess.run(["bash", "-c", f"{SPIKELORE} {words} | true"], cwd=small, capture_output=True, text=True)
        assert done.stderr == ""


def test_nothing_to_check_is_said(small, tmp_path):
    settings = {"SPIKELORE_DATA": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    assert "nothing to check" in run("data", "check", cwd=small, **settings).stdout


def test_bench_checks_and_prints_json(small):
    answer = json.loads(run("bench", "first-spike", "--images", "32", cwd=small).stdout)
    assert [row["work"] for row in answer["rows"]] == ["coding", "layer 1", "layer 2", "layer 3", "inference"]
    assert all(row["images_per_second"] > 0 for row in answer["rows"])


def test_a_network_is_exported(small, tmp_path):
    pytest.importorskip("nir", reason="nir is not installed; install the extra nir")
    stream = sl.split_stream("digits-sample", [(3, 7)])
    neuron = Leaky(beta=0.9, reset="zero", surrogate="atan", slope=2.0)
    network = sl.SurrogateNetwork.for_stream(stream, pooling="stride", neuron=neuron)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    network.save(tmp_path / "run" / "checkpoints" / "network.safetensors")
    for named, file in (("run", "a.nir"), ("run/checkpoints/network.safetensors", "b.nir")):
        assert run("export", named, "--to", file, cwd=tmp_path).stdout == f"{file}: classes 3, 7\n"
        images = stream.tasks[0].test.inputs[:20]
        assert (sl.import_nir(tmp_path / file).class_scores(images) == network.class_scores(images)).all()
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()
    assert "expected one; name it" in refused("export", "done", "--to", "c.nir", cwd=small)
    assert "fire once at most" in refused("export", "done/checkpoints/fused.safetensors", "--to", "c.nir", cwd=small)
    assert "--to" in refused("export", "done", cwd=small)
    assert "nothing does not exist" in refused("export", "nothing", "--to", "c.nir", cwd=small)
    assert not (small / "c.nir").exists()
