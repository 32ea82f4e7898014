"""The replay experiment with networks of other kinds and with networks and methods of one's own, by configuration."""

import shutil
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from spikelore import plain_yaml, report
from spikelore.continual.methods.local import LocalLearner
from spikelore.data import write_idx
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import config_file, continual_run, explained, typed
from spikelore.experiments.reproduce import replay
from spikelore.experiments.sweep import sweep
from spikelore.files import load_tensors
from watching import left, stop_in

NETWORK = '''
    """A network of somebody else's: the nearest mean, in a spread of grey levels."""

    from pathlib import Path

    import numpy as np

    from spikelore.networks.protocol import Cost


    class NearestMean:
        name = "nearest mean"

        def __init__(self, classes, input_shape, weight):
            self.classes, self.input_shape, self.weight = tuple(classes), tuple(input_shape), weight
            self.sums = np.zeros((len(self.classes), *self.input_shape))
            self.counts = np.zeros(len(self.classes))

        @classmethod
        def for_stream(cls, stream, seed=0, weight=1.0):
            return cls(stream.classes, stream.tasks[0].train.inputs.shape[1:], weight)

        def learn_(self, inputs, labels):
            for image, label in zip(inputs, labels, strict=True):
                self.sums[self.classes.index(label)] += self.weight * image
                self.counts[self.classes.index(label)] += 1

        def class_scores(self, inputs):
            means = self.sums / np.maximum(self.counts, 1)[:, None, None]
            return -((inputs[:, None].astype(float) - means) ** 2).sum((2, 3)).astype(np.float32)

        def predict(self, inputs, among=()):
            columns = np.array([n for n, label in enumerate(self.classes) if label in (among or self.classes)])
            return np.array(self.classes)[columns[self.class_scores(inputs)[:, columns].argmax(1)]]

        def cost(self, inputs):
            return Cost(0.0, 0.0, float(self.sums.size))

        def copy(self):
            other = type(self)(self.classes, self.input_shape, self.weight)
            other.load_state_dict(self.state_dict())
            return other

        def grow_(self, classes):
            self.classes = (*self.classes, *classes)
            self.sums = np.concatenate([self.sums, np.zeros((len(classes), *self.input_shape))])
            self.counts = np.concatenate([self.counts, np.zeros(len(classes))])

        def state_dict(self):
            return {"sums": self.sums.copy(), "counts": self.counts.copy()}

        def load_state_dict(self, state):
            self.sums, self.counts = state["sums"].copy(), state["counts"].copy()

        def save(self, path):
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as file:
                np.savez(file, classes=self.classes, weight=self.weight, **self.state_dict())

        @classmethod
        def load(cls, path):
            found = np.load(path)
            network = cls(found["classes"].tolist(), found["sums"].shape[1:], float(found["weight"]))
            network.load_state_dict(found)
            return network
    '''
METHOD = '''
    """A method of somebody else's: naive learning of every image ``times`` times."""

    from dataclasses import dataclass
    from typing import ClassVar

    from spikelore.continual.method import Method
    from spikelore.continual.methods.local import LocalLearner


    class Often(LocalLearner):
        def step(self, images, labels, task):
            for _ in range(self.method.times):
                super().step(images, labels, task)


    @dataclass(frozen=True, kw_only=True)
    class Again(Method):
        name: ClassVar[str] = "again"
        learner: ClassVar = Often
        times: int = 2
    '''
SIDE = 14
SHORT, LONG = [[0, 1], [2]], [[0, 1], [2], [3]]


def write_bars(folder: Path, classes: tuple[int, ...]) -> None:
    """Write data of some classes: a bar of its own place in each class's images, under noise."""
    noise = np.random.default_rng(0)
    for stem, count in (("train", 40), ("t10k", 10)):
        labels = np.repeat(classes, count)
        images = noise.integers(0, 60, (len(labels), SIDE, SIDE)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            at = 3 * label + 1
            bar = image if label % 2 else image.T
            bar[at : at + 3] = 220
        write_idx(folder / "bars" / f"{stem}-images-idx3-ubyte", images)
        write_idx(folder / "bars" / f"{stem}-labels-idx1-ubyte", labels.astype(np.uint8))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with data, a network and a method."""
    write_bars(tmp_path, (0, 1, 2, 3))
    (tmp_path / "my_network.py").write_text(dedent(NETWORK))
    (tmp_path / "my_method.py").write_text(dedent(METHOD))
    return tmp_path


def values(home: Path, kind: str, **changes: Any) -> dict[str, Any]:
    """Return a configuration with a network of some kind that learns naively."""
    network = {"kind": str(home / kind) if ".py" in kind else kind, **KINDS[kind]}
    return {
        "experiment": "replay", "data": "bars", "stream": {"groups": SHORT}, "network": network,
        "learner": {"method": "naive", "batch": 10}, "memory": {"images": 0}, **changes,
    }  # fmt: skip


FEATURES = {"kernel": 3, "padding": 1, "threshold": 2.0, "pool": 2, "winners": 2, "inhibition_radius": 1}
OWN = "my_network.py:NearestMean"
KINDS: dict[str, dict[str, Any]] = {
    "rate-lif": {"neurons_per_class": 4, "active_ms": 60.0},
    "first-spike": {"layer_1": {"features": 6, **FEATURES}, "layer_2": {"features": 12, **FEATURES}},
    OWN: {"weight": 2.0},
    "surrogate": {"channels": [4], "kernel": 3, "steps": 3, "coding": "constant"},
}
NAMES = {OWN: "nearest mean"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_in_a_task_ends_in_the_same_bytes(kind, home):
    config = config_file.build("replay", values(home, kind))
    config_file.execute(config, home / "whole", home)
    stop_in(1, 1, lambda: config_file.execute(config, home / "cut", home))
    assert not (home / "cut/results.json").exists()
    again = config_file.read(home / "cut/config.yaml")
    (row,) = config_file.execute(again, home / "cut", home, resume=True)["rows"]
    assert left(home / "cut") == left(home / "whole")
    assert len(left(home / "cut")) > 8
    assert row["network"] == NAMES.get(kind, kind)
    assert row["synops_per_image"] > 0
    assert all(0 <= row[name] <= 1 for name in ("minimum_accuracy", "anytime_accuracy"))
    (asked,) = replay.evaluate(again, home / "cut", None, home)
    assert asked["accuracy"] == pytest.approx(row["average_accuracy"], abs=1e-5)
    assert "Each task" in report.write(home / "cut").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_lengthened_though_old_images_are_gone(kind, home):
    config = config_file.build("replay", values(home, kind))
    (short,) = config_file.execute(config, home / "run", home)["rows"]
    shutil.copytree(home / "run", home / "other")
    longer = typed.changed(config, {"stream.groups": LONG})
    write_bars(home, (2, 3))
    stop_in(2, 1, lambda: config_file.execute(longer, home / "run", home, resume=True))
    (row,) = config_file.execute(longer, home / "run", home, resume=True)["rows"]
    assert row["not_measured"] == ["0,1"]
    assert row["accuracy_matrix"][1][:2] == short["accuracy_matrix"][1]
    assert row["accuracy_matrix"][2][0] is None
    assert row["accuracy_matrix"][2][2] is not None
    assert row["classes"] == [0, 1, 2, 3]
    config_file.execute(longer, home / "other", home, resume=True)
    assert left(home / "run") == left(home / "other")


def test_a_network_and_a_method_of_ones_own_are_treated_like_ours(home):
    learner = {"method": str(home / "my_method.py:Again"), "batch": 10, "options": {"times": 3}}
    whole = values(home, OWN, learner=learner)
    config = config_file.build("replay", whole)
    (row,) = config_file.execute(config, home / "run", home)["rows"]
    assert (row["method"], row["network"]) == ("again", "nearest mean")
    assert row["average_accuracy"] > 0.8
    (part,) = (home / "run/parts").iterdir()
    counts = load_tensors(part / "checkpoints/state.safetensors")[0]["network/counts"]
    assert counts.sum() == 3 * 108
    stop_in(1, 1, lambda: config_file.execute(config, home / "cut", home))
    config_file.execute(config, home / "cut", home, resume=True)
    assert left(home / "cut") == left(home / "run")
    (home / "mine.yaml").write_text(plain_yaml.dump(whole))
    pages = sweep(home / "mine.yaml", ["network.weight=1.0,2.0"], 1, home / "swept", home, resume=False, ray=None).pages
    assert [page.exists() for page in pages] == [True, True, True]
    weights = [config_file.read(page.parent / "config.yaml").network["weight"] for page in pages[:-1]]
    assert weights == [1.0, 2.0]


def test_variants_may_have_other_networks(home):
    base = values(
        home, "surrogate", learner={"batch": 10, "readout": "drive", "replay_batch": 10}, memory={"images": 9}
    )
    others = [{"network": values(home, kind)["network"], "label": kind} for kind in ("rate-lif", OWN)]
    config = config_file.build("replay", {**base, "variants": [{}, *others]})
    rows = config_file.execute(config, home / "run", home)["rows"]
    assert [row["network"] for row in rows] == ["surrogate", "rate-lif", "nearest mean"]
    assert {row["method"] for row in rows} == {"experience replay"}
    assert config_file.read(home / "run/config.yaml") == config
    assert explained.explained(config).count("kind: rate-lif") == 1


def test_a_method_may_work_around_another_one(home):
    around = {"learner.around": "online decay", "learner.around_options": {"tau_prune_images": 8, "period_images": 4}}
    whole = {"learner.around": "fusion, then replay", "learner.around_options": {"memory": {"images": 9}}}
    base = values(home, "rate-lif", variants=[around, {**whole, "network": values(home, "first-spike")["network"]}])
    config = config_file.build("replay", base)
    assert config.jobs()[0].job.method.tau_prune_images == 8
    rows = config_file.execute(config, home / "run", home)["rows"]
    assert [(row["network"], row["method"]) for row in rows] == [
        ("rate-lif", "online decay"), ("first-spike", "fusion, then replay")]  # fmt: skip
    assert rows[1]["memory_images"] == 9
    assert config_file.read(home / "run/config.yaml") == config


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (
            {"kind": "rate-liv"},
            "^network.kind is 'rate-liv', expected one of surrogate, rate-lif, first-spike, recurrent, or one",
        ),
        ({"kind": "nowhere.py:Mine"}, "^network.kind names the file nowhere.py, which is not there"),
        ({"kind": "json:loads"}, "^network.kind 'json:loads' names another thing, expected a class with for_stream"),
        ({"kind": "rate-lif", "neurons": 4}, "^network.neurons is not known, expected one of"),
        (
            {"kind": "rate-lif", "neurons_per_class": "four"},
            "^network.neurons_per_class is 'four', expected a whole num",
        ),
        ({"kind": "rate-lif", "classes": [1]}, "^network.classes is given, and the stream says it; leave it out"),
        ({"kind": "surrogate", "chanels": [4]}, "^network.chanels is not known, .*did you mean channels"),
        ({"chanels": [4]}, "^network.chanels is not known, .*did you mean channels"),
        ({"kind": OWN, "wait": 3}, "network of kind .* is refused .*unexpected keyword argument 'wait'"),
    ],
)
def test_a_network_that_is_none_is_refused_in_plain_words(network, sentence, home):
    if network.get("kind") == OWN:
        network = {**network, "kind": str(home / OWN)}
    with pytest.raises(InputError, match=sentence):
        config_file.execute(config_file.build("replay", values(home, OWN) | {"network": network}), home / "run", home)
    assert not (home / "run").exists()


def test_a_method_that_has_no_meaning_on_a_network_is_refused(home):
    learner = {"method": "ewc", "batch": 10}
    with pytest.raises(
        InputError, match=r"^ewc needs gradients of its output spikes, which a rate-lif network does not"
    ):
        config_file.execute(config_file.build("replay", values(home, "rate-lif", learner=learner)), home / "run", home)
    learner = {"method": "naive", "learning_rate": 0.1}
    with pytest.raises(
        InputError, match=r"^learner has settings of learning by gradients, .*kind rate-lif; leave them"
    ):
        config_file.execute(config_file.build("replay", values(home, "rate-lif", learner=learner)), home / "run", home)


def test_an_override_changes_one_setting_of_another_network(home):
    words = ["--network.neurons_per_class", "7", "--seed", "3"]
    config = config_file.build("replay", values(home, "rate-lif"), words)
    assert dict(config.network) == {"kind": "rate-lif", "neurons_per_class": 7, "active_ms": 60.0}
    other = config_file.build("replay", values(home, "rate-lif"), ["--network.kind", "first-spike"])
    assert dict(other.network) == {"kind": "first-spike"}
    back = config_file.build("replay", values(home, "rate-lif"), ["--network", "{kind: surrogate, steps: 3}"])
    assert back.network.steps == 3


def test_a_method_that_raises_in_mid_stream_says_where_and_keeps_the_state(home, monkeypatch):
    config = config_file.build("replay", values(home, OWN))
    monkeypatch.setattr(continual_run, "_SAVE_SECONDS", 0.0)
    learn, calls = LocalLearner.step, []

    def fail(self, *arguments):
        calls.append(1)
        if len(calls) == 9:
            raise ValueError("of no use")
        learn(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LocalLearner, "step", fail)
        with pytest.raises(
            SpikeloreError, match=r"stopped at task 2 of 2, epoch 1, batch 1 \(naive, seed 0\): ValueError"
        ):
            config_file.execute(config, home / "run", home)
    (row,) = config_file.execute(config, home / "run", home, resume=True)["rows"]
    assert len(row["accuracy_matrix"]) == 2
