"""`spikelore reproduce local`: the ways side by side, what each run leaves, and what is refused before it begins."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikelore import report
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import config_file, parallel
from spikelore.experiments.reproduce import local
from spikelore.experiments.reproduce.local import LocalExperiment, WaySettings, at_scale
from spikelore.experiments.run_folder import RunFolder
from spikelore.files import load_tensors
from spikelore.learning.first_spike_training import layer_training
from spikelore.networks.first_spike import FirstSpikeNetwork

SAMPLE = [{"data": "digits-sample", "classes": [n, n + 1]} for n in (0, 2)]
VALUES = {
    "tasks": SAMPLE, "train_per_class": 20, "validation_per_class": 5, "test_per_class": 10,
    **dict.fromkeys(("epochs_layer_1", "epochs_layer_2", "epochs_decision", "epochs_second"), 2),
    "stdp": {"double_every": 10},
    "network": {"layer_2": {"features": 20}, "decision": {"features": 20}}, "consolidation": {"epochs": 3},
    "settings": {
        "forgetting": {"epochs": 3}, "noise": {"epochs": 3}, "langevin": {"epochs": 2, "record_every": 5},
        "templates": {"epochs": 2}, "templates_60": {"epochs": 2, "stored": 3},
        "templates_30kb": {"epochs": 2, "stored": 5},
    },
}  # fmt: skip
NAMES = [
    "forgetting", "lateral inhibition", "pseudo-rehearsal", "reminder 0.25 %", "reminder 10 %", "noise", "frozen",
    "langevin", "joint", "protected templates", "protected templates, 3 images a class",
    "protected templates, 5 black and white images a class",
]  # fmt: skip


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of all ways, in one process."""
    folder = tmp_path_factory.mktemp("local") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "cores", lambda: 1)
        results = config_file.execute(config_file.build("local", VALUES), folder, None)
    return folder, results


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_every_way_has_a_row_that_follows_from_its_curve(whole):
    folder, results = whole
    assert [row["name"] for row in results["rows"]] == NAMES
    assert [row["preset"] for row in results["rows"]] == 9 * ["published"] + 3 * ["best"]
    stored = {row["name"]: row["stored_images"] for row in results["rows"]}
    assert {name: count for name, count in stored.items() if count} == {
        "reminder 0.25 %": 2, "reminder 10 %": 4, "joint": 40, NAMES[-2]: 6, NAMES[-1]: 10,
    }  # fmt: skip
    weights = {row["name"]: row["stored_bytes"] for row in results["rows"]}
    assert [weights[name] for name in ("joint", *NAMES[-3:])] == [40 * 785, 0, 6 * 785, 10 * 99]
    for way, row in zip(local._WAYS, results["rows"], strict=True):
        curve = [line for line in lines(folder) if line["part"] == way and "letters_validation" in line]
        assert [line["epoch"] for line in curve] == [1, 2]
        best = max(curve, key=lambda line: line["letters_validation"])
        expected = best["digits_test"], best["letters_test"], best["epoch"]
        assert (row["digits"], row["letters"], row["epoch"]) == pytest.approx(expected, abs=1e-5)
        assert row["mean"] == pytest.approx((row["digits"] + row["letters"]) / 2, abs=1e-5)


def test_the_price_of_choosing_on_test_images_shows(whole):
    folder, results = whole
    found = {(row["name"], row["choice"]): row for row in results["choices"]}
    assert len(found) == 36
    for way, name in zip(local._WAYS, NAMES, strict=True):
        curve = [line for line in lines(folder) if line["part"] == way and "letters_test" in line]
        assert found[name, "last"]["letters"] == pytest.approx(curve[-1]["letters_test"])
        assert found[name, "test"]["letters"] == pytest.approx(max(line["letters_test"] for line in curve))
        assert found[name, "test"]["letters"] >= found[name, "validation"]["letters"]


def test_ways_that_begin_alike_share_the_network_of_the_first_task(whole):
    folder, results = whole
    assert {path.name for path in (folder / "parts").iterdir()} == {"task_1", *local._WAYS}
    first = {way: (folder / "parts" / way / "checkpoints/first.safetensors").read_bytes() for way in local._WAYS}
    shared = (folder / "parts/task_1/checkpoints/first.safetensors").read_bytes()
    assert {way for way, network in first.items() if network != shared} == {"forgetting", "noise"}
    stages = {way: [line["stage"] for line in lines(folder) if line["part"] == way] for way in ("frozen", "noise")}
    assert stages["frozen"] == 2 * ["layer 1"] + 2 * ["layer 2"] + 2 * ["decision"]
    assert stages["noise"][:7] == [
        *2 * ["layer 1 of task 1"], *2 * ["layer 2 of task 1"], *3 * ["decision of task 1"],
    ]  # fmt: skip
    epochs = {row["name"]: row["epochs"] for row in results["task_1"]}
    assert (epochs["noise"], epochs["forgetting"], epochs["joint"]) == (3, 3, 2)


def test_what_a_way_guards_has_not_moved(whole):
    folder, _ = whole

    def weights(way: str, name: str) -> FirstSpikeNetwork:
        return FirstSpikeNetwork.load(folder / "parts" / way / f"checkpoints/{name}.safetensors")

    before, after = weights("frozen", "first"), weights("frozen", "network")
    still = before.unit_weights == after.unit_weights
    assert 0.1 <= still.mean() < 1
    assert (before.weights_2 != after.weights_2).any()
    bounds, _ = load_tensors(folder / "parts/langevin/checkpoints/bounds.safetensors")
    learned = weights("langevin", "network").unit_weights
    assert (bounds["lower"] <= learned).all()
    assert (learned <= bounds["upper"]).all()
    before, after = weights("templates", "first"), weights("templates", "network")
    np.testing.assert_array_equal(before.weights_1, after.weights_1)
    np.testing.assert_array_equal(before.weights_2, after.weights_2)


def test_the_network_that_is_kept_is_that_of_the_epoch_that_counts(whole):
    folder, results = whole
    config = config_file.build("local", VALUES)
    tasks = local._load(config, None)
    for way, row in zip(local._WAYS, results["rows"], strict=True):
        network = FirstSpikeNetwork.load(folder / "parts" / way / "checkpoints/network.safetensors")
        for name, images in zip(("digits", "letters"), tasks.images, strict=True):
            right = np.mean(network.predict(images.test.inputs) == images.test.labels)
            assert right == pytest.approx(row[name], abs=1e-5)


def test_the_feature_layers_learn_on_at_the_rates_they_had_come_to(whole):
    folder, _ = whole
    config = config_file.build("local", VALUES)
    home = folder / "parts/inhibition/checkpoints"
    first, after = (FirstSpikeNetwork.load(home / f"{name}.safetensors") for name in ("first", "network"))
    letters = local._load(config, None).images[1].train
    learned = [layer_training(first, 1, letters.inputs, 2, config.stdp, seen=seen).finish() for seen in (80, 0)]
    np.testing.assert_array_equal(after.weights_1, learned[0].weights_1)
    assert (after.weights_1 != learned[1].weights_1).any()


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 4, 9, 13])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(whole, tmp_path, monkeypatch, stop):
    """Stopped after some lines of metrics: in the first task, in the sampling, in the second task."""
    folder, results = whole
    config = config_file.build("local", VALUES | {"ways": ["langevin", "templates"]})
    told, append = [], RunFolder.append_metrics

    def stopping(self, **values):
        append(self, **values)
        told.append(values)
        if len(told) == stop:
            raise StoppedError("a stop")

    monkeypatch.setattr(RunFolder, "append_metrics", stopping)
    with pytest.raises((StoppedError, SpikeloreError), match="a stop"):
        config_file.execute(config, tmp_path / "run", None)
    monkeypatch.setattr(RunFolder, "append_metrics", append)
    again = config_file.execute(config, tmp_path / "run", None, resume=True)
    rows = {row["name"]: row for row in results["rows"]}
    assert again["rows"] == [rows["langevin"], rows["protected templates"]]
    for way in ("langevin", "templates"):
        ours, theirs = ([line for line in lines(each) if line["part"] == way] for each in (tmp_path / "run", folder))
        assert ours == theirs


def fail(*_, **__):
    raise SpikeloreError("a full disk")


def test_no_way_begins_where_the_first_task_failed_and_all_do_later(whole, tmp_path, monkeypatch):
    _, results = whole
    config = config_file.build("local", VALUES | {"ways": ["frozen", "joint"]})
    with monkeypatch.context() as patch:
        patch.setattr(local, "layer_training", fail)
        with pytest.raises(SpikeloreError, match=r"^a full disk$"):
            config_file.execute(config, tmp_path / "run", None)
    assert [path.name for path in (tmp_path / "run/parts").iterdir()] == ["task_1"]
    again = config_file.execute(config, tmp_path / "run", None, resume=True)
    rows = {row["name"]: row for row in results["rows"]}
    assert again["rows"] == [rows["frozen"], rows["joint"]]


def test_the_epoch_may_be_chosen_as_the_authors_do_or_be_the_last(whole, tmp_path):
    _, results = whole
    found = {(row["name"], row["choice"]): row for row in results["choices"]}
    for choose in ("test", "last"):
        config = config_file.build("local", VALUES | {"ways": ["joint"], "choose": choose})
        [row] = config_file.execute(config, tmp_path / choose, None)["rows"]
        assert {"choice": choose, **row} == found["joint", choose]
        tasks = local._load(config, None)
        network = FirstSpikeNetwork.load(tmp_path / choose / "parts/joint/checkpoints/network.safetensors")
        test = tasks.images[1].test
        assert np.mean(network.predict(test.inputs) == test.labels) == pytest.approx(row["letters"], abs=1e-5)


def test_what_each_way_protects_follows_from_its_networks(whole):
    folder, results = whole
    moves = {row["name"]: row for row in results["moves"]}
    assert [*moves] == NAMES
    assert moves["frozen"]["largest_stayed"] == 1
    assert moves["frozen"]["largest_moved"] == 0
    assert moves["frozen"]["layer_3_stayed"] < 1
    ours = moves["protected templates"]
    assert (ours["layer_1_stayed"], ours["layer_2_stayed"]) == (1, 1)
    home = folder / "parts/templates/checkpoints"
    before, after = (FirstSpikeNetwork.load(home / f"{name}.safetensors") for name in ("consolidated", "network"))
    distance = np.abs(after.unit_weights - before.unit_weights)
    assert ours["layer_3_stayed"] == pytest.approx((distance < 0.01).mean(), abs=2e-5)
    assert ours["layer_3_moved"] == pytest.approx(distance.mean(), abs=2e-5)
    assert (distance.reshape(len(distance), -1).max(axis=1) == 0).mean() >= 0.5


def test_the_values_of_some_weights_in_the_sampling_are_kept(whole):
    folder, _ = whole
    arrays, _ = load_tensors(folder / "arrays.safetensors")
    counts = arrays["langevin/sampled/counts"]
    assert counts.sum(axis=1).tolist() == 3 * [2 * (40 // 5)]
    bounds, _ = load_tensors(folder / "parts/langevin/checkpoints/bounds.safetensors")
    widths = np.rint((bounds["upper"] - bounds["lower"]) / 0.01).astype(int)
    np.testing.assert_array_equal(arrays["langevin/sampled/widths"], np.bincount(widths.ravel(), minlength=61))


def test_parts_that_kept_less_have_no_row_of_moves_and_the_rest_goes_on(whole, tmp_path):
    folder, results = whole
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    (copy / "results.json").unlink()
    (copy / "parts/templates/checkpoints/consolidated.safetensors").unlink()
    again = config_file.execute(config_file.build("local", VALUES), copy, None, resume=True)
    assert again["rows"] == results["rows"]
    assert again["moves"] == [row for row in results["moves"] if row["name"] != "protected templates"]


def test_the_page_has_all_figures_and_tables(whole, tmp_path):
    folder, _ = whole
    page = report.write(folder).read_text()
    names = {"epochs.svg", "map.svg", "moves.svg", "sampled.svg"}
    assert {file.name for file in (folder / "figures").glob("*.svg")} == names
    for words in (
        "Accuracy after both tasks", "What the choice of the epoch is worth", "protected templates",
        "What each way protects", "What weights do under noise",
    ):  # fmt: skip
        assert words in page
    other = tmp_path / "other"
    config = config_file.build("local", VALUES | {"ways": ["frozen", "joint"], "seed": 1})
    config_file.execute(config, other, None)
    page = report.compare([folder, other], tmp_path / "both").read_text()
    assert "2 runs" in page
    assert {file.name for file in (tmp_path / "both/figures").glob("*.svg")} == {"map.svg"}


# What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"settings": {"forgetting": {"radii": [28, 0]}}}, "forgetting: layer_1.inhibition_radius is 28, larger"),
        ({"network": {"layer_2": {"inhibition_radius": 14}}}, "radius is 14, larger than the map of 14 x 14"),
        ({"settings": {"frozen": {"share": 1.2}}}, "frozen.share is 1.2, expected 0 to 1"),
        ({"settings": {"reminder_few": {"share": 1.1}}}, "share is 1.1, more images than there are"),
        ({"settings": {"reminder_few": {"share": 0.1}}}, "two of the ways are 'reminder 10 %'"),
        ({"settings": {"templates_60": {"stored": 21}}}, "templates.stored is 21, more images than there are .*, 20"),
        ({"settings": {"templates": {"bits": 2}}}, "templates.bits is 2, expected 1 or 8"),
        ({"settings": {"templates": {"gain": 0.0}}}, "templates.gain is 0.0, expected a number above 0"),
        ({"settings": {"langevin": {"record_every": 41}}}, "langevin.record_every is 41 of 40 images"),
        ({"ways": ["nothing"]}, r"ways are \['nothing'\], expected some of forgetting, inhibition"),
        ({"ways": []}, r"ways are \[\]"),
        ({"choose": "best"}, "choose is 'best', expected one of validation, test, last"),
        ({"epochs_second": 0}, "epochs_second is 0"),
        ({"tasks": [SAMPLE[0], {"data": "digits-sample", "classes": [2, 3, 4]}]}, "has 2 classes and .* has 3"),
        ({"tasks": SAMPLE[:1]}, "tasks is"),
        ({"tasks": [SAMPLE[0], {"data": "nothing"}]}, "nothing"),
        ({"network": {"decision": {"features": 21}}}, "features is 21, which does not divide among 2 classes"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_nothing(changes, says, tmp_path):
    values = {**VALUES, **changes}
    for section in ("network", "settings"):
        if section in changes:
            values[section] = {**VALUES[section], **changes[section]}
    with pytest.raises(InputError, match=says) as refused:
        config_file.execute(config_file.build("local", values), tmp_path / "run", None)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_scales():
    paper = at_scale("paper", seed=3)
    assert paper == LocalExperiment(seed=3)
    assert [source.data for source in paper.tasks] == ["mnist", "letters"]
    assert (paper.epochs_decision, paper.epochs_second, paper.settings.forgetting.epochs) == (50, 100, 600)
    assert (paper.settings.langevin.epochs, paper.settings.langevin.record_every) == (24, 100)
    assert at_scale("paper", preset="best").ways == ("templates", "templates_60", "templates_30kb")
    assert at_scale("paper", choose="test") == LocalExperiment(choose="test")
    assert len(at_scale("quick", preset="published").ways) == 9
    assert {source.data for source in at_scale("quick").tasks} == {"digits-sample"}
    assert replace(paper, settings=WaySettings()) == paper
