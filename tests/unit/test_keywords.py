"""Keywords: its lists, its streams, what it leaves for figures, and latent replay after new examples."""

from dataclasses import replace

import numpy as np
import pytest

from spikelore import report
from spikelore.coding.image_events import latency_events
from spikelore.continual.methods import LatentReplay, MemorySettings, Replay
from spikelore.data import Dataset, Events, Examples
from spikelore.data.streams import Stream, split_tasks
from spikelore.errors import InputError
from spikelore.experiments import config_file
from spikelore.experiments.recordings_settings import RecordingsSettings, pooled
from spikelore.experiments.reproduce import keywords
from spikelore.experiments.reproduce.keywords import KeywordsExperiment
from spikelore.experiments.reproduce.study import StudyStream
from spikelore.experiments.stream_settings import Datasets
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.recurrent import RecurrentNetwork

SMALL = {
    "recordings": {"latency_ms": 20.0}, "train_per_class": 12, "test_per_class": 4, "groups": [[0, 1], [2, 3]],
}  # fmt: skip
NETWORK = {"kind": "recurrent", "hidden": [12], "steps": 5, "bin_ms": 4.0}


def small(**changes):
    rate = {"learning_rate": 0.002, "readout": "mean"}
    replay = {"learner.method": "experience replay", "learner.epochs": 2, "learner.replay_batch": 8}
    values = {
        "seeds": 1,
        "budgets": (0, 3000),
        "networks": ({"name": "recurrent", "network": NETWORK, "learner": rate},),
        "methods": (
            {"name": "joint", "learner.method": "joint"},
            {"name": "bits", **replay},
            {"name": "five as one", **replay, "memory.compression": 5},
            {"name": "events", **replay, "memory.storage": "events"},
            {"name": "latents", **replay, "learner.method": "latent replay", "learner.freeze_after": 0,
             "learner.replay_order": "after"},
        ),
        "streams": ({"name": "pairs", "data": "digits-sample", "stream": SMALL},),
    }  # fmt: skip
    return KeywordsExperiment(**{**values, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("keywords") / "run"
    return out, config_file.execute(small(), out, None, jobs=1)


def test_rows_are_those_of_a_study_with_true_bytes(finished):
    _, results = finished
    rows = {row["method"]: row for row in results["rows"]}
    assert results["experiment"] == "keywords"
    assert set(rows) == {"joint", "bits", "five as one", "events", "latents"}
    a_bit_each = 5 * 784 // 8 + 1
    assert (rows["bits"]["memory_images"], rows["bits"]["memory_bytes"]) == (6, 6 * a_bit_each)
    assert (rows["five as one"]["memory_images"], rows["five as one"]["memory_bytes"]) == (30, 30 * (784 // 8 + 1))
    assert 0 < rows["events"]["memory_bytes"] <= 3000
    assert rows["events"]["memory_images"] == pytest.approx(3000 / (4 * 150), abs=3)
    assert rows["latents"]["memory_bytes"] == 3000 // (-(-5 * 12 // 8) + 1) * (-(-5 * 12 // 8) + 1)


def test_the_page_has_recordings_and_the_spikes_of_layers(finished):
    out, _ = finished
    text = report.write(out).read_text(encoding="utf-8")
    for title in ("Accuracy against bytes", "Recordings", "Time surfaces", "Spikes of each layer over time"):
        assert title in text
    for name in ("rasters", "surfaces", "layers", "bytes"):
        assert (out / "figures" / f"{name}.svg").exists()


def test_a_stopped_run_of_latents_goes_on_as_if_nothing_had_been(finished, tmp_path):
    """What is replayed after a pass is learned once, whether the run stopped there or not."""
    from spikelore.continual.run import ContinualRun

    job = next(cell.job for cell in small().cells() if cell.names["method"] == "latents")
    stream = job.load(Datasets(None))
    sizes = [len(task.train) for task in stream.tasks]
    whole = job.run(stream, sizes)
    states = []
    for _ in whole.steps():
        states.append(whole.state_dict())
    for number in range(0, len(states), 3):
        again: ContinualRun = job.run(stream, sizes)
        again.load_state_dict(*states[number])
        result = again.finish()
        assert np.array_equal(result.accuracy_matrix, whole.result().accuracy_matrix, equal_nan=True), number
        mine, other = again.network.state_dict(), whole.network.state_dict()
        assert all(np.array_equal(mine[name], other[name]) for name in other), number


# Streams --------------------------------------------------------------------------------------------------------------


def spoken(recordings=20, speakers=2):
    rng = np.random.default_rng(0)
    events = Events.of_bins(rng.random((recordings, 6, 7)) < 0.3)
    groups = {"speaker": np.arange(recordings) % speakers}
    part = Examples(events, np.arange(recordings) // 2 % 2, groups)
    half = np.arange(recordings) < recordings // 2
    return Dataset("words", part.take(half), part.take(~half), (0, 1), "here")


def numbers(examples):
    """Return recordings as something that can be compared."""
    return sorted(bins.tobytes() for bins in examples.inputs.bins(6, 1000))


def test_pooled_units_have_the_events_of_all_of_them():
    events = spoken().train.inputs
    bins, narrow = events.bins(6, 1000), pooled(events, 3).bins(6, 1000)
    assert narrow.shape[2] == 3
    for n, part in enumerate((slice(0, 3), slice(3, 6), slice(6, 7))):
        assert (narrow[:, :, n] == bins[:, :, part].any(2)).all()


def test_merged_files_are_divided_anew():
    before = spoken()
    after = RecordingsSettings(merged=True).of(before, seed=1)
    assert (len(after.train), len(after.test)) == (len(before.train), len(before.test))
    assert numbers(after.train) != numbers(before.train)
    assert sorted(numbers(after.train) + numbers(after.test)) == sorted(numbers(before.train) + numbers(before.test))


def test_an_unheard_speaker_is_tested_alone():
    left = RecordingsSettings(unheard=1).of(spoken(), seed=0)
    assert set(left.train.numbers("speaker")) == {0}
    assert set(left.test.numbers("speaker")) == {1}
    assert len(left.test) == 10


def test_bright_pixels_spike_first_and_dark_ones_never():
    images = np.array([[[0, 1], [128, 255]]], np.uint8)
    events = latency_events(images, 25.6)
    assert events.units.tolist() == [3, 2, 1]
    assert events.times_us.tolist() == [0, 12_700, 25_400]
    assert RecordingsSettings(latency_ms=25.6, pool=2).of(
        Dataset("dots", Examples(images, [0]), Examples(images, [0]), (0,), "here"), 0
    ).train.inputs.unit_shape == (1, 2, 1)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"pool": 0}, "stream.recordings.pool is 0"),
        ({"unheard": -2}, "unheard -2, expected 0 or more and -1 or more"),
        ({"merged": True, "unheard": 1}, "expected one of them at most"),
    ],
)
def test_recordings_that_make_no_sense_are_refused(values, told):
    with pytest.raises(InputError, match=told):
        RecordingsSettings(**values)


def test_images_are_not_pooled():
    with pytest.raises(InputError, match="the dataset has images; set latency_ms"):
        RecordingsSettings(pool=2).of(Datasets(None)("digits-sample"), 0)


def test_tested_recordings_may_be_learned_first():
    settings = StudyStream(**{**SMALL, "recordings": RecordingsSettings(latency_ms=20.0)})
    honest, faulty = (
        replace(settings, tested_first=fault).load("digits-sample", Datasets(None), 0) for fault in (False, True)
    )
    sizes = [[len(task.train) for task in stream.tasks] for stream in (honest, faulty)]
    assert sizes == [[24, 24], [32, 24]]
    assert (
        faulty.tasks[0].train.inputs[24:].bins(5, 4000).tolist() == honest.tasks[0].test.inputs.bins(5, 4000).tolist()
    )


# Memories while learning ----------------------------------------------------------------------------------------------


def learned(method, **changes):
    dataset = RecordingsSettings(latency_ms=20.0).of(Datasets(None)("digits-sample"), 0)
    tasks = split_tasks(dataset, [(0, 1), (2, 3)])
    tasks = tuple(replace(task, train=task.train.take(np.arange(40))) for task in tasks)
    stream = Stream("class-incremental", tasks)
    learning = GradientLearning(learning_rate=2e-3, readout="mean")
    network = RecurrentNetwork.for_stream(stream, hidden=(12,), steps=5, bin_ms=4.0, learning=learning, **changes)
    return stream, method.start(network, tasks=2)


def pass_over(learner, task, number):
    for first in range(0, len(task.train), 20):
        part = task.train.take(np.arange(first, first + 20))
        learner.learn(part.inputs, part.labels, number)


def learn(learner, tasks, passes=1):
    """Learn tasks one after the other and yield after each."""
    for number, task in enumerate(tasks):
        learner.begin_task(number, task.classes)
        for _ in range(passes):
            learner.begin_epoch(number)
            pass_over(learner, task, number)
        learner.end_task(number)
        yield number


def test_coded_memories_hold_the_same_spikes_in_fewer_bytes():
    held = []
    for coded in (False, True):
        stream, learner = learned(Replay(MemorySettings(bytes=2500, arithmetic_coding=coded), epochs=1))
        pass_over(learner, stream.tasks[0], 0)
        assert learner.memory_bytes <= 2500
        spikes, labels, _ = learner.drawn(3)
        assert spikes.shape == (3, 5, 1, 28, 28)
        assert set(labels.tolist()) <= {0, 1}
        held.append(len(learner.memory))
    assert held[1] > held[0]


@pytest.mark.parametrize("freeze_after", [0, 30])
def test_coded_latents_stay_within_their_bytes_also_when_they_take_the_place_of_inputs(freeze_after):
    memory = MemorySettings(bytes=700, arithmetic_coding=True)
    stream, learner = learned(LatentReplay(memory, epochs=1, freeze_after=freeze_after, replay_batch=4))
    for _ in learn(learner, stream.tasks):
        assert learner.memory_bytes <= 700
    assert learner.frozen
    assert len(learner.memory)


@pytest.mark.parametrize("order", ["after", "same after"])
def test_coded_latents_that_were_let_go_are_not_replayed(order):
    memory = MemorySettings(bytes=300, arithmetic_coding=True)
    stream, learner = learned(LatentReplay(memory, epochs=2, replay_batch=4, replay_order=order))
    list(learn(learner, (*stream.tasks, stream.tasks[0]), passes=2))
    assert set(learner.earlier) - set(learner.memory.taken().tolist())
    assert 0 < learner.memory_bytes <= 300


def test_a_memory_is_filled_in_the_first_pass_alone():
    stream, learner = learned(Replay(MemorySettings(images=500), epochs=3))
    learner.begin_task(0, (0, 1))
    for _ in range(3):
        learner.begin_epoch(0)
        pass_over(learner, stream.tasks[0], 0)
        assert len(learner.memory) == 40


def test_latent_replay_freezes_before_the_last_pass_and_holds_latents_alone():
    stream, learner = learned(LatentReplay(MemorySettings(images=500, compression=5), epochs=2))
    assert learner.memory_bytes == 500 * (-(-12 // 8) + 1)
    weights = learner.module.hidden[0].weight
    learner.begin_task(0, (0, 1))
    learner.begin_epoch(0)
    before = weights.detach().clone()
    pass_over(learner, stream.tasks[0], 0)
    assert not learner.frozen
    assert (weights != before).any()
    learner.begin_epoch(0)
    before = weights.detach().clone()
    pass_over(learner, stream.tasks[0], 0)
    assert learner.frozen
    assert (weights == before).all()
    assert len(learner.memory) == 40


@pytest.mark.parametrize("order", ["after", "same after"])
def test_stored_spikes_are_replayed_after_each_pass(order, monkeypatch):
    stream, learner = learned(LatentReplay(MemorySettings(images=500), epochs=2, replay_batch=10, replay_order=order))
    replayed = []
    get = learner.memory.get
    monkeypatch.setattr(learner.memory, "get", lambda places: replayed.append(get(places)[1].tolist()) or get(places))
    list(learn(learner, (*stream.tasks, stream.tasks[0]), passes=2))
    labels = stream.tasks[0].train.labels.tolist()
    for first in (0, 4):  # two passes over the second task, after each the forty of the first
        assert sorted(label for batch in replayed[first : first + 4] for label in batch) == sorted(labels)
    later = {label for batch in replayed[8:] for label in batch}
    if order == "same after":
        assert replayed[8:12] == replayed[12:] == replayed[:4], "the fault: nothing of the second task"
    else:
        assert later == {0, 1, 2, 3}
        assert len(replayed) == 8 + 2 * 8


def test_fewer_steps_are_replayed_in_less_time(monkeypatch):
    stream, learner = learned(Replay(MemorySettings(images=500, compression=2, replayed="short"), replay_batch=8))
    pass_over(learner, stream.tasks[0], 0)
    steps = []
    logits = learner.logits
    monkeypatch.setattr(learner, "logits", lambda inputs: steps.append(tuple(inputs.shape[:2])) or logits(inputs))
    pass_over(learner, stream.tasks[1], 1)
    assert steps == [(20, 5), (8, 3)] * 2


def test_latents_are_replayed_short_also_if_inputs_were_held_before_the_freezing():
    memory = MemorySettings(bytes=5000, compression=2, replayed="short")
    stream, learner = learned(LatentReplay(memory, epochs=1, freeze_after=30, replay_batch=4))
    list(learn(learner, stream.tasks))
    assert learner.drawn(2)[0].shape == (2, 3, 12)


def test_no_memory_begins_with_fewer_bytes_than_its_classes_need():
    for settings in ({"arithmetic_coding": True}, {"storage": "events"}):
        with pytest.raises(InputError, match=r"a memory of 11 bytes .* fewer than the 4 classes; enlarge it"):
            learned(Replay(MemorySettings(bytes=11, **settings)))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"images": 5, "storage": "events"}, "images is 5 with the storage events, expected memory.bytes alone"),
        ({"bytes": 5, "storage": "events", "compression": 2}, "compression is 2 with the storage events"),
        ({"images": 5, "arithmetic_coding": True}, "images is 5 with arithmetic_coding, expected memory.bytes alone"),
        ({"bytes": 5, "storage": "events", "arithmetic_coding": True}, "arithmetic_coding is true with the"),
        ({"bytes": 5, "replayed": "short"}, "'short' with a compression of 1"),
        ({"bytes": 5, "compression": 0}, "compression is 0"),
    ],
)
def test_memories_that_make_no_sense_are_refused(values, told):
    with pytest.raises(InputError, match=told):
        MemorySettings(**values)


def test_memories_of_spikes_are_not_of_images():
    from spikelore.networks.surrogate import SurrogateNetwork

    stream = Stream("class-incremental", split_tasks(Datasets(None)("digits-sample"), [(0, 1)]))
    for settings in ({"compression": 2}, {"storage": "events"}):
        with pytest.raises(InputError, match="expected a network of recordings of spikes for that"):
            Replay(MemorySettings(bytes=10_000, **settings)).start(SurrogateNetwork.for_stream(stream))
    with pytest.raises(InputError, match="arithmetic_coding is true and memory\\.storage 'raw'"):
        Replay(MemorySettings(bytes=10_000, arithmetic_coding=True)).start(SurrogateNetwork.for_stream(stream))


# Lists ----------------------------------------------------------------------------------------------------------------


def test_the_presets_are_lists_of_cells_that_can_be_run():
    published, best = (keywords.at_scale("paper", preset=preset) for preset in keywords.PRESETS)
    both = keywords.at_scale("paper")
    assert len(both.cells()) == 3 * len(published.cells()) + len(best.cells())
    assert not [cell.why_not for cell in both.cells() if cell.job is None]
    layers = {cell.job.network["split"] for cell in published.cells()}
    assert layers == {0, 1, 2, 3}


def test_on_shd_there_are_twenty_classes_and_longer_bins():
    config = keywords.at_scale("paper", data="shd")
    groups = {each["name"]: each["stream"].get("groups") for each in config.streams}
    assert groups["9 + 1"] == [list(range(19)), [19]]
    assert groups["five tasks of two"] == [[label, label + 1] for label in range(0, 20, 2)]
    assert {each["data"] for each in config.streams} == {"shd"}
    assert config.networks[0]["network"]["bin_ms"] == pytest.approx(14.0)
