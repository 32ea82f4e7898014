"""A stream that is lengthened: the same run goes on, with its old data or without, and what cannot go on is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikelore.continual.methods import MemorySettings
from spikelore.data import load, write_idx
from spikelore.errors import InputError
from spikelore.experiments import config_file, continual_run, parallel
from spikelore.experiments.execution import Execution
from spikelore.experiments.job import Job
from spikelore.experiments.learner_settings import LearnerSettings
from spikelore.experiments.reproduce.replay import ReplayExperiment, evaluate
from spikelore.experiments.stream_settings import Datasets, StreamSettings
from spikelore.experiments.typed import changed
from spikelore.files import load_tensors
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks import checkpoint as checkpoint_file
from spikelore.networks.gradient_learning import Augmentation
from spikelore.networks.surrogate_config import SurrogateConfig
from watching import left, watched

SIDE = 10
PATTERNS = np.random.default_rng(3).integers(0, 215, (6, SIDE, SIDE))
NETWORK = SurrogateConfig(
    channels=(4,), kernel=3, steps=3, coding="constant",
    neuron=Leaky(beta=0.9, threshold=0.2, surrogate="atan", slope=2.0),
)  # fmt: skip
DRAWN = replace(NETWORK, coding="bernoulli")
REPLAY = LearnerSettings(batch=8, replay_batch=8, learning_rate=1e-2)
SHORT, LONG = ((0, 1), (2,)), ((0, 1), (2,), (5, 3))
JOB = Job("tiny", 0, StreamSettings(groups=SHORT), NETWORK, REPLAY, MemorySettings(images=12))
NO_MEMORY = MemorySettings()
PUBLISHED = replace(REPLAY.turned_to("published replay"), stored_batches=2, grow_heads=True)


def write_data(folder: Path, name: str, classes: tuple[int, ...], side: int = SIDE) -> None:
    """Write a dataset of each class's pattern under noise: 30 and 12 images a class."""
    noise = np.random.default_rng(0)
    for stem, count in (("train", 30), ("t10k", 12)):
        labels = np.repeat(classes, count).astype(np.uint8)
        images = np.zeros((len(labels), side, side), np.uint8)
        images[:, :SIDE, :SIDE] = PATTERNS[labels] + noise.integers(0, 40, (len(labels), SIDE, SIDE))
        write_idx(folder / name / f"{stem}-images-idx3-ubyte.gz", images)
        write_idx(folder / name / f"{stem}-labels-idx1-ubyte.gz", labels)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, "tiny", (0, 1, 2, 3, 4, 5))
    return folder


def longer(job: Job, groups=LONG) -> Job:
    return replace(job, stream=replace(job.stream, groups=groups))


class StoppedError(Exception):
    """Stands for an interruption."""


def stopped_after(images: int, job: Job, path: Path, data: Path, monkeypatch) -> None:
    """Run a job that saves after every batch until it has shown more than so many images."""

    def tick(done: float, of: int) -> None:
        if done > images:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(continual_run, "_SAVE_SECONDS", 0.0)
        with pytest.raises(StoppedError):
            run_job(job, path, data, tick)


def run_job(job: Job, path: Path, data: Path | None, tick=None) -> dict:
    with watched(tick):
        return continual_run.run_job(job, Datasets(data), Execution(), path)


def accuracy_of(job: Job, path: Path, name: str | None, data: Path | None, classes=()) -> float:
    return continual_run.accuracy_of(job, path, name, Datasets(data), classes)


def numbers(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "seconds"}


def differing(one: Path, other: Path) -> list[str]:
    """Return what differs between two run folders of a job, but for seconds and for when a stream was lengthened."""
    found = ["config.yaml"] if (one / "config.yaml").read_text() != (other / "config.yaml").read_text() else []
    for file in ("arrays", "checkpoints/network", "checkpoints/state"):
        (mine, told), (theirs, also) = (load_tensors(each / f"{file}.safetensors") for each in (one, other))
        assert mine.keys() == theirs.keys()
        assert file.endswith("state") or told == also
        found += [f"{file} {name}" for name in mine if mine[name].tobytes() != theirs[name].tobytes()]
    lines = [
        [json.loads(re.sub(r"(, null)*\]", "]", line)) for line in (each / "metrics.jsonl").read_text().splitlines()]
        for each in (one, other)
    ]
    found += ["metrics.jsonl"] if lines[0] != lines[1] else []
    rows = [numbers(json.loads((each / "results.json").read_text())) for each in (one, other)]
    return found + [name for name in rows[0] if rows[0][name] != rows[1][name]]


JOBS = {
    "experience replay": replace(JOB, network=DRAWN),
    "ring": replace(JOB, memory=MemorySettings(images=13, policy="ring")),
    "reservoir of spikes": replace(
        JOB, learner=replace(REPLAY, input="spikes"),
        memory=MemorySettings(images=12, policy="reservoir", storage="spikes"),
    ),
    "der++": replace(
        JOB,
        learner=replace(
            REPLAY, method="der++", averaging=0.9, loss_over="batch", readout="drive",
            augmentation=Augmentation(rotation=10, shift=1),
        ),
        memory=MemorySettings(bytes=12 * (SIDE**2 + 1 + 12)),
    ),
    "gdumb": replace(JOB, learner=replace(REPLAY.turned_to("gdumb"), rehearsal_steps=3)),
    "latent replay": replace(JOB, network=DRAWN, learner=replace(REPLAY.turned_to("latent replay"), freeze_after=60)),
    "ewc": replace(JOB, learner=replace(REPLAY.turned_to("ewc"), fisher_images=9), memory=NO_MEMORY),
    "lwf": replace(JOB, network=DRAWN, learner=REPLAY.turned_to("lwf"), memory=NO_MEMORY),
    "naive, two epochs": replace(JOB, learner=replace(REPLAY.turned_to("naive"), epochs=2), memory=NO_MEMORY),
    "task-incremental": replace(JOB, stream=replace(JOB.stream, scenario="task-incremental")),
    "published": replace(JOB, network=DRAWN, learner=PUBLISHED, memory=NO_MEMORY),
    "published, one head": replace(JOB, learner=replace(PUBLISHED, grow_heads=False), memory=NO_MEMORY),
}  # fmt: skip


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_whenever_a_stream_is_lengthened_and_wherever_it_stops_it_ends_in_the_same_bytes(
    job, data, tmp_path, monkeypatch
):
    short = run_job(job, tmp_path / "one", data)
    row = run_job(longer(job), tmp_path / "one", data)
    assert row["accuracy_matrix"][0][:2] == short["accuracy_matrix"][0]
    assert row["accuracy_matrix"][1][:2] == short["accuracy_matrix"][1]
    assert row["classes"] == [0, 1, 2, 5, 3]
    assert row["tasks"] == ["0,1", "2", "5,3"]
    assert len(row["average_accuracies"]) == 3
    stopped_after(30, job, tmp_path / "other", data, monkeypatch)
    stopped_after(80 * job.learner.epochs, longer(job), tmp_path / "other", data, monkeypatch)
    run_job(longer(job), tmp_path / "other", data)
    assert differing(tmp_path / "one", tmp_path / "other") == []


def test_a_memory_keeps_its_budget_and_the_network_learns_the_new_classes(data, tmp_path):
    job = JOBS["der++"]
    short = run_job(job, tmp_path, data)
    row = run_job(longer(job), tmp_path, data)
    assert (short["memory_images"], row["memory_images"]) == (12, 11)  # a place holds two more logits
    assert row["memory_bytes"] <= job.memory.bytes
    assert row["accuracy_matrix"][2][2] > 0.3
    classes = json.loads((tmp_path / "results.json").read_text())["classes"]
    confusion = load_tensors(tmp_path / "arrays.safetensors")[0]
    assert sorted(confusion) == ["confusion/0", "confusion/1", "confusion/2"]
    assert confusion["confusion/0"].sum(1).tolist() == [12, 12, 0, 0, 0]
    assert confusion["confusion/2"].sum(1).tolist() == [12] * len(classes)
    assert run_job(longer(job), tmp_path, data) == row  # finished: only told


@pytest.mark.parametrize(
    ("stream", "more"),
    [
        ({"kind": "rotated", "degrees": (0.0, 90.0)}, {"degrees": (0.0, 90.0, 45.0)}),
        ({"kind": "permuted", "tasks": 2}, {"tasks": 3}),
        ({"groups": ((0, 1), (2, 3))}, {"groups": ((0, 1), (2, 3), (4, 5))}),
    ],
    ids=["rotated", "permuted", "split"],
)
def test_where_no_class_is_new_a_lengthened_run_is_the_long_one(stream, more, data, tmp_path):
    stream = StreamSettings(scenario="domain-incremental", **stream)
    job = replace(JOB, network=DRAWN, stream=stream)
    long = replace(job, stream=replace(stream, **more))
    run_job(job, tmp_path / "lengthened", data)
    row, whole = run_job(long, tmp_path / "lengthened", data), run_job(long, tmp_path / "whole", data)
    assert row["accuracy_matrix"][0][2] is None  # the third task was not known after the first
    whole["accuracy_matrix"][0][2] = None
    for each in (row, whole):
        del each["anytime_accuracy"]  # its first points are of fewer tasks
    assert numbers(row) == numbers(whole)
    assert set(differing(tmp_path / "lengthened", tmp_path / "whole")) <= {
        f"{file}confusion/{task}" for file in ("arrays ", "checkpoints/state run/") for task in (0, 1)
    } | {
        "checkpoints/state run/matrix", "checkpoints/state run/points", "metrics.jsonl", "accuracy_matrix",
        "anytime_accuracy",
    }  # fmt: skip


def test_old_images_may_be_gone(tmp_path, capsys):
    write_data(tmp_path, "tiny", (0, 1, 2))
    config = ReplayExperiment(
        data="tiny", stream=JOB.stream, network=NETWORK, learner=REPLAY, memory=JOB.memory, preset="own"
    )
    config_file.execute(config, tmp_path / "run", tmp_path)
    write_data(tmp_path, "tiny", (2, 3, 5))
    more = changed(config, {"stream.groups": LONG})
    capsys.readouterr()
    (row,) = config_file.execute(more, tmp_path / "run", tmp_path, resume=True)["rows"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "going on: tasks 0,1; 2 learned already, 1 more to come"
    assert lines[-1] == "not measured: task 0,1, whose images are gone from the data"
    assert row["not_measured"] == ["0,1"]
    assert row["accuracy_matrix"][0][0] is not None
    assert row["accuracy_matrix"][2][0] is None
    assert row["average_accuracy"] == pytest.approx(np.mean(row["accuracy_matrix"][2][1:]), abs=1e-5)
    assert row["forgetting"] == pytest.approx(
        max(0, row["accuracy_matrix"][1][1] - row["accuracy_matrix"][2][1]), abs=1e-5
    )
    (found,) = evaluate(more, tmp_path / "run", None, tmp_path)
    assert found["accuracy"] == pytest.approx(row["average_accuracy"], abs=1e-5)
    assert "not measured: task 0,1, " in capsys.readouterr().err


def test_new_classes_may_come_in_a_dataset_of_their_own(tmp_path):
    write_data(tmp_path, "old", (0, 1, 2))
    write_data(tmp_path, "new", (0, 3, 5))
    job = replace(JOB, data="old")
    run_job(job, tmp_path / "run", tmp_path)
    further = replace(longer(job), data="new")
    row = run_job(further, tmp_path / "run", tmp_path)
    assert row["task_data"] == ["old", "old", "new"]
    assert None not in row["accuracy_matrix"][2]
    assert accuracy_of(further, tmp_path / "run", None, tmp_path) == pytest.approx(row["average_accuracy"], abs=1e-5)
    for file in (tmp_path / "old").iterdir():
        file.unlink()
    row = run_job(replace(further, stream=replace(further.stream, groups=(*LONG, (4,))), data="newest"), *[
        tmp_path / "run", write_data(tmp_path, "newest", (4,)) or tmp_path
    ])  # fmt: skip
    assert row["not_measured"] == ["0,1", "2"]
    assert row["accuracy_matrix"][3][:2] == [None, None]
    assert None not in row["accuracy_matrix"][3][2:]


def test_a_task_to_be_learned_needs_its_images(tmp_path, data):
    run_job(JOB, tmp_path / "run", data)
    before = (tmp_path / "run/config.yaml").read_bytes()
    with pytest.raises(InputError, match=r"^class 7 has no image"):
        run_job(longer(JOB, (*SHORT, (7,))), tmp_path / "run", data)
    assert (tmp_path / "run/config.yaml").read_bytes() == before
    told = []
    run_job(JOB, tmp_path / "run", data, lambda *each: told.append(each))
    assert told == []
    run_job(longer(JOB), tmp_path / "run", data, lambda *each: told.append(each))
    assert told[0] == (3 * 27, 5 * 27)
    assert told[-1] == (5 * 27, 5 * 27)


@pytest.mark.parametrize(
    ("job", "change", "sentence"),
    [
        (JOB, {"groups": ((0, 1),)}, r"^stream.groups is \[\[0, 1\]\], but the run is of \[\[0, 1\], \[2\]\]"),
        (JOB, {"groups": ((0, 1), (3,), (2,))}, "expected further tasks after these; choose another --out"),
        (JOB, {"groups": LONG, "validation_share": 0.2}, "was run with another configuration"),
        (
            replace(JOB, learner=REPLAY.turned_to("joint"), memory=NO_MEMORY),
            {"groups": LONG},
            "joint training learns all tasks at once",
        ),
        (
            replace(JOB, stream=replace(JOB.stream, scenario="task-free", blur=0.1)),
            {"groups": LONG},
            "stream.blur is 0.1, which mixes",
        ),
        (replace(JOB, memory=MemorySettings(images=4)), {"groups": LONG}, "fewer than the 5 classes"),
        (
            replace(JOB, memory=MemorySettings(images=5, policy="ring")),
            {"groups": ((0,), (1,), (2,), (3,), (4,), (5,))},
            "expected further tasks",
        ),
    ],
    ids=["shorter", "other", "share", "joint", "blur", "budget", "ring"],
)
def test_what_cannot_be_lengthened_is_refused_and_stays_as_it_was(job, change, sentence, data, tmp_path):
    row = run_job(job, tmp_path, data)
    before = (tmp_path / "config.yaml").read_bytes()
    with pytest.raises(InputError, match=sentence):
        run_job(replace(job, stream=replace(job.stream, **change)), tmp_path, data)
    assert (tmp_path / "config.yaml").read_bytes() == before
    assert run_job(job, tmp_path, data) == row


def test_images_of_another_size_are_refused(tmp_path):
    write_data(tmp_path, "tiny", (0, 1, 2))
    run_job(JOB, tmp_path / "run", tmp_path)
    write_data(tmp_path, "tiny", (3, 5), side=12)
    with pytest.raises(InputError, match="tiny has images of 12x12, but the run has learned images of 10x10"):
        run_job(longer(JOB), tmp_path / "run", tmp_path)


def test_a_folder_without_its_state_cannot_go_on(data, tmp_path):
    run_job(JOB, tmp_path, data)
    (tmp_path / "checkpoints/state.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no checkpoints/state\.safetensors, which a run goes on from"):
        run_job(longer(JOB), tmp_path, data)
    assert run_job(JOB, tmp_path, data)["tasks"] == ["0,1", "2"]


def test_every_learner_of_an_experiment_goes_on_in_its_folder(data, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    config = ReplayExperiment(
        data="tiny", seeds=2, stream=JOB.stream, network=NETWORK, learner=REPLAY, memory=JOB.memory,
        variants=({}, {"memory.images": 20}),
    )  # fmt: skip
    config_file.execute(config, tmp_path, data)
    names = sorted(part.name for part in (tmp_path / "parts").iterdir())
    rows = config_file.execute(changed(config, {"stream.groups": LONG}), tmp_path, data, resume=True)["rows"]
    assert sorted(part.name for part in (tmp_path / "parts").iterdir()) == names
    assert [len(row["accuracy_matrix"]) for row in rows] == [3] * 4
    assert config_file.read(tmp_path / "config.yaml").stream.groups == LONG
    with pytest.raises(InputError, match="another configuration"):
        config_file.execute(changed(config, {"stream.groups": LONG, "seeds": 3}), tmp_path, data, resume=True)


def test_a_checkpoint_decides_on_its_own_as_the_run_did(data, tmp_path):
    job = JOBS["der++"]
    run_job(longer(job), tmp_path, data)
    network = checkpoint_file.load(tmp_path / "checkpoints/network.safetensors")
    test = load("tiny", data).test.of_classes([0, 1, 2, 3, 5])
    found = (network.predict(test.inputs) == test.labels).mean()
    assert found == pytest.approx(accuracy_of(longer(job), tmp_path, "tiny", data, [0, 1, 2, 3, 5]))
    assert set(network.predict(test.inputs).tolist()) <= {0, 1, 2, 3, 5}


def test_the_same_run_is_the_same_bytes_but_for_its_seconds(data, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    config = ReplayExperiment(
        data="tiny", seeds=2, stream=JOB.stream, network=DRAWN, learner=REPLAY, memory=JOB.memory, preset="own"
    )
    for name in ("one", "other"):
        config_file.execute(config, tmp_path / name, data)
        config_file.execute(changed(config, {"stream.groups": LONG}), tmp_path / name, data, resume=True)
    one, other = left(tmp_path / "one"), left(tmp_path / "other")
    assert one == other
    assert len(one) > 10
