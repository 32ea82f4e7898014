"""The replay experiment on two small tasks: rows, resuming, refusals, and what its report shows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from spikelore import report
from spikelore.continual.methods import MemorySettings
from spikelore.continual.methods.gradient import GradientLearner
from spikelore.continual.methods.published import PublishedReplayLearner
from spikelore.continual.methods.replay import ReplayLearner
from spikelore.data import load
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import config_file, continual_run, typed
from spikelore.experiments.execution import Execution
from spikelore.experiments.job import Job
from spikelore.experiments.learner_settings import LearnerSettings
from spikelore.experiments.reproduce import replay
from spikelore.experiments.reproduce.replay import ReplayExperiment, part_names
from spikelore.experiments.stream_settings import Datasets, StreamSettings
from spikelore.files import load_tensors
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks import checkpoint as checkpoint_file
from spikelore.networks.surrogate import SurrogateNetwork
from spikelore.networks.surrogate_config import SurrogateConfig
from watching import watched

STREAM = StreamSettings(groups=((0, 1), (2, 3)))
NETWORK = SurrogateConfig(
    channels=(8,), pool=4, steps=3, coding="constant", neuron=Leaky(beta=0.9, surrogate="atan", slope=2.0)
)  # fmt: skip
REPLAY = LearnerSettings(batch=8, replay_batch=16, learning_rate=1e-2, readout="drive")
JOB = Job("digits-sample", 0, STREAM, NETWORK, REPLAY, MemorySettings(images=40))
BASE = ReplayExperiment(
    data="digits-sample", stream=STREAM, network=NETWORK, learner=REPLAY, memory=MemorySettings(images=40)
)  # fmt: skip
PUBLISHED = replace(
    BASE,
    preset="published",
    network=replace(NETWORK, membrane="reinitialised", coding="bernoulli_once"),
    learner=replace(
        replay.published().learner, epochs=1, stored_batches=4, learning_rate=5e-3, replay_learning_rate=5e-3
    ),
    memory=MemorySettings(),
)


def run_job(job: Job, path: Path, data: Path | None, tick=None) -> dict:
    with watched(tick):
        return continual_run.run_job(job, Datasets(data), Execution(), path)


def accuracy_of(job: Job, path: Path, name: str | None, data: Path | None, classes=()) -> float:
    return continual_run.accuracy_of(job, path, name, Datasets(data), classes)


def numbers(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "seconds"}


def checkpoint(path: Path) -> dict[str, np.ndarray]:
    return load_tensors(path / "checkpoints" / "network.safetensors")[0]


class StoppedError(Exception):
    """Stands for an interruption."""


@pytest.mark.parametrize("job", [JOB, PUBLISHED.jobs()[0].job], ids=["experience replay", "published"])
def test_a_stopped_run_goes_on_to_the_same_bytes(job, tmp_path, monkeypatch):
    whole = run_job(job, tmp_path / "whole", None)
    monkeypatch.setattr(continual_run, "_SAVE_SECONDS", 0.0)
    for limit in (300, 900):  # once in the first task, once in the second

        def tick(done: float, of: int, limit: int = limit) -> None:
            if done > limit:
                raise StoppedError

        with pytest.raises(StoppedError):
            run_job(job, tmp_path / "stopped", None, tick)
    stopped = run_job(job, tmp_path / "stopped", None)
    assert numbers(stopped) == numbers(whole)
    mine, theirs = checkpoint(tmp_path / "stopped"), checkpoint(tmp_path / "whole")
    assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)
    lines = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("stopped", "whole")]
    assert lines[0] == lines[1]
    assert lines[0].count(b"test") == 2


def test_task_free_is_what_class_incremental_is_for_a_learner_that_hears_no_boundaries(tmp_path):
    free = replace(JOB, stream=replace(STREAM, scenario="task-free"))
    assert free.as_computed() == JOB
    one, other = run_job(JOB, tmp_path / "a", None), run_job(free, tmp_path / "b", None)
    assert {**numbers(one), "scenario": ""} == {**numbers(other), "scenario": ""}
    blurred = replace(free, stream=replace(free.stream, blur=0.2))
    assert blurred.as_computed() is blurred


def test_a_memory_keeps_the_first_task(tmp_path, learned, seed):
    job = replace(JOB, seed=seed)
    naive = replace(job, learner=REPLAY.turned_to("naive"), memory=MemorySettings())
    forgets, keeps = run_job(naive, tmp_path / "naive", None), run_job(job, tmp_path / "replay", None)
    learned("naive on the first task", forgets["accuracy_matrix"][1][0], at_most=0.3)
    learned("forgetting of naive", forgets["forgetting"], at_least=0.6)
    learned("average with replay", keeps["average_accuracy"], at_least=0.85)
    learned("forgetting with replay", keeps["forgetting"], at_most=0.16)
    assert (keeps["memory_images"], keeps["memory_bytes"]) == (40, 40 * 785)
    assert keeps["accuracy_matrix"][0][1] is None
    assert keeps["synops_per_image"] > keeps["spikes_per_image"] > 0


LEAST = {"split": 0.5, "rotated": 0.5, "permuted": 0.4}
NAMES = {
    "split": ["0,1", "2,3"],
    "rotated": ["0 degrees", "90 degrees"],
    "permuted": ["permutation 0", "permutation 1"],
}


@pytest.mark.parametrize("kind", LEAST)
def test_domain_incremental_measures_every_task_and_forward_transfer(kind, tmp_path, learned):
    stream = StreamSettings(
        kind=kind, groups=((0, 1), (2, 3)), degrees=(0.0, 90.0), tasks=2, scenario="domain-incremental"
    )
    row = run_job(replace(JOB, stream=stream, learner=replace(REPLAY, batch=64)), tmp_path / kind, None)
    matrix = np.array(row["accuracy_matrix"], float)
    learned(f"{kind}, each task when learned", np.diag(matrix).min(), at_least=LEAST[kind])
    untrained = load_tensors(tmp_path / kind / "checkpoints/state.safetensors")[0]["run/untrained"]
    assert row["forward_transfer"] == pytest.approx(matrix[0, 1] - untrained[1], abs=2e-5)
    assert row["tasks"] == NAMES[kind]
    assert row["classes"] == ([0, 1] if kind == "split" else list(range(10)))


def test_published_learner_reports_its_own_head_for_the_current_task(tmp_path, learned, seed):
    job = replace(PUBLISHED.jobs()[0].job, seed=seed)
    honest = replace(job, learner=replace(job.learner, faults=job.learner.faults[:-1]))
    theirs, ours = run_job(job, tmp_path / "theirs", None), run_job(honest, tmp_path / "ours", None)
    more = theirs["accuracy_matrix"][1][1] - ours["accuracy_matrix"][1][1]
    learned("what the own head adds", more, at_least=0.1)
    assert theirs["accuracy_matrix"][1][0] == ours["accuracy_matrix"][1][0]
    assert theirs["memory_bytes"] == 2 * 4 * 16 * 99


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(tmp_path, monkeypatch):
    monkeypatch.setattr(continual_run, "_SAVE_SECONDS", 0.0)
    original, calls = GradientLearner.loss, []

    def loss(self, *arguments):
        calls.append(1)
        value = original(self, *arguments)
        return value * float("nan") if len(calls) == 5 else value

    naive = replace(JOB, learner=REPLAY.turned_to("naive"), memory=MemorySettings())
    monkeypatch.setattr(GradientLearner, "loss", loss)
    with pytest.raises(
        SpikeloreError, match=r"stopped at task 1 of 2, epoch 1, batch 5 \(naive, seed 0\): the loss is"
    ):
        run_job(naive, tmp_path, None)
    arrays, _ = load_tensors(tmp_path / "checkpoints/state.safetensors")
    assert all(np.isfinite(array).all() for name, array in arrays.items() if name.startswith("network/"))
    monkeypatch.setattr(GradientLearner, "loss", original)
    assert run_job(naive, tmp_path, None)["average_accuracy"] > 0.3


GDUMB = replace(JOB, learner=replace(REPLAY.turned_to("gdumb"), batch=32, rehearsal_steps=2))


@pytest.mark.parametrize(
    ("job", "method", "place"),
    [
        (PUBLISHED.jobs()[0].job, "begin_epoch", r"task 1 of 2, epoch 1, batch 1 \(published replay, seed 0\)"),
        (GDUMB, "rehearse", r"the tests after task 1 of 2 \(gdumb, seed 0\)"),
    ],
)
def test_an_error_says_where_and_that_no_state_was_saved(job, method, place, tmp_path, monkeypatch):
    def fail(*_):
        raise SpikeloreError("the loss is nan; do this.")

    for learner in (PublishedReplayLearner, ReplayLearner):
        monkeypatch.setattr(learner, method, fail, raising=False)
    with pytest.raises(
        SpikeloreError, match=rf"^stopped at {place}: the loss is nan; do this; no state was saved yet$"
    ):
        run_job(job, tmp_path, None)


def test_weights_that_are_no_numbers_are_not_kept_for_deciding(tmp_path, monkeypatch):
    def spoil(self):
        with torch.no_grad():
            next(self.module.parameters())[0] = float("nan")

    monkeypatch.setattr(ReplayLearner, "rehearse", spoil)
    with pytest.raises(SpikeloreError, match=r"convolutions\.0\.weight has weights that are not finite"):
        run_job(GDUMB, tmp_path, None)
    assert not (tmp_path / "checkpoints/network.safetensors").exists()


def test_the_kept_network_is_the_one_that_is_counted_and_can_be_loaded(tmp_path, monkeypatch):
    questions = []
    original = ReplayLearner.rehearse
    monkeypatch.setattr(ReplayLearner, "rehearse", lambda self: (questions.append(1), original(self))[1])
    row = run_job(GDUMB, tmp_path, None)
    assert len(questions) == 2  # one test a task, none for counting
    file = tmp_path / "checkpoints/network.safetensors"
    network = SurrogateNetwork.load(file)
    assert network.head_sizes == [len(row["classes"])] == [4]
    test = load("digits-sample").test.of_classes(row["classes"])
    found = (checkpoint_file.load(file).predict(test.inputs) == test.labels).mean()
    assert found == pytest.approx(row["average_accuracy"], abs=1e-5)  # the tasks have as many images each
    network.decision = None
    network.save(tmp_path / "silent.safetensors")
    with pytest.raises(InputError, match="does not say which classes its network's outputs stand for"):
        checkpoint_file.load(tmp_path / "silent.safetensors")
    with pytest.raises(InputError, match="expected its decision to be set"):
        SurrogateNetwork.load(tmp_path / "silent.safetensors").predict(test.inputs)


@pytest.mark.parametrize("scenario", ["class-incremental", "task-incremental", "domain-incremental"])
def test_a_run_asked_again_gives_its_own_last_average(scenario, tmp_path):
    job = replace(JOB, stream=replace(STREAM, scenario=scenario), learner=replace(REPLAY, batch=64))
    row = run_job(job, tmp_path, None)
    assert accuracy_of(job, tmp_path, None, None) == pytest.approx(row["average_accuracy"], abs=1e-5)


def test_a_run_is_asked_about_chosen_classes(tmp_path):
    job = replace(JOB, learner=replace(REPLAY, batch=64))
    matrix = run_job(job, tmp_path, None)["accuracy_matrix"]
    assert accuracy_of(job, tmp_path, None, None, [2, 3]) == pytest.approx(matrix[1][1], abs=1e-5)
    halves = [accuracy_of(job, tmp_path, "digits-sample", None, each) for each in ([0, 1], [2, 3])]
    test = load("digits-sample").test
    sizes = [len(test.of_classes(each)) for each in ([0, 1], [2, 3])]
    whole = accuracy_of(job, tmp_path, "digits-sample", None, [0, 1, 2, 3])
    assert np.average(halves, weights=sizes) == pytest.approx(whole)
    for data, classes in ((None, [99]), ("digits-sample", [7]), ("digits-sample", [])):
        with pytest.raises(InputError, match=r"class \d+ is not known to .* one of 0, 1, 2, 3; .* --classes"):
            accuracy_of(job, tmp_path, data, None, classes)


def test_a_part_refused_in_a_worker_leaves_no_folder(tmp_path):
    config = replace(BASE, variants=({"memory.images": 3}, {"memory.images": 2}))
    with pytest.raises(InputError, match="fewer than the 4 classes"):
        config_file.execute(config, tmp_path / "run", None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "overrides", "sentence"),
    [
        ({"memory": 50}, [], "^memory is 50, expected names with values \\(of images, bytes, policy, storage, "),
        ({"memory": None}, [], "^memory is null, expected names with values"),
        ({"network": {"neuron": 3}}, [], "^network.neuron is 3, expected names with values"),
        ({"memory": {"image": 3}}, [], "^memory.image is not known, expected one of images, bytes, policy, storage"),
        ({"stream": {"groups": 5}}, [], "^stream.groups is 5, expected a list"),
        ({"seed": None}, [], "^seed is null, expected a whole number"),
        ({}, ["--memory", "50"], "^--memory is 50, expected names with values"),
        ({}, ["--memory=null"], "^--memory is null, expected names with values"),
        ({}, ["--stream.groups", "5"], "^--stream.groups is 5, expected a list"),
        ({}, ["--memory.image", "10"], "^--memory.image is not known, expected one of images,"),
        ({}, ["--seed"], "^--seed has no value, expected a whole number; write --seed VALUE"),
        ({}, ["--experiment", "fusion"], "^--experiment is given beside a file of experiment replay"),
    ],
)
def test_a_configuration_is_refused_in_plain_words(values, overrides, sentence):
    with pytest.raises(InputError, match=sentence):
        config_file.build("replay", {**typed.plain(BASE), **values}, overrides)


def test_overrides_give_values_sections_and_lists():
    words = ["--memory", "{images: 30}", "--stream.groups=[[0, 1], [2, 3]]", "--network.neuron.beta", "0.5"]
    config = config_file.build("replay", {"experiment": "replay"}, words)
    assert (config.memory.images, config.stream.groups, config.network.neuron.beta) == (30, ((0, 1), (2, 3)), 0.5)


def test_a_part_of_another_configuration_is_not_resumed(tmp_path):
    run_job(JOB, tmp_path, None)
    with pytest.raises(InputError, match=r"another configuration \(memory\.images was 40, now 50\)"):
        run_job(replace(JOB, memory=MemorySettings(images=50)), tmp_path, None)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"stream.groups": [[0, 1], [1, 2]]}, "task '1,2' has class 1, which task '0,1' already has"),
        ({"memory.images": 0}, "budget of 0 images and 0 bytes"),
        ({"memory.images": 3}, "holds 3 examples, fewer than the 4 classes"),
        ({"memory.images": 0, "memory.bytes": 900}, "900 bytes"),
        ({"learner.method": "naive"}, "naive keeps no examples"),
        (
            {"learner.method": "ewc", "learner.replay_batch": 64, "memory.images": 0, "stream.scenario": "task-free"},
            "ewc must know where tasks",
        ),
        ({"learner.strength": 3.0}, "^strength is 3.0, expected 1.0 with experience replay, which does not use it"),
        ({"learner.method": "naive", "memory.images": 0}, "^replay_batch is 16, expected 64 with naive, which does"),
        ({"learner.method": "nowhere.py:Mine"}, "^learner.method names the file nowhere.py, which is not there"),
        ({"learner.method": "json:loads"}, "names another thing, expected a subclass of spikelore.*Method with a name"),
        ({"learner.options": {"size": 3}}, "options is .*'size': 3.*, expected {} with experience replay"),
        ({"learner.around": "online"}, "^learner.around is 'online', expected one of online decay; .*choose one"),
        ({"learner.around_options": {"share": 0.1}}, "expected {} with no method around another"),
        (
            {"learner.around": "pruning", "learner.around_options": {"part": 0.1}},
            "^learner.around_options.part is not known, expected one of .*share",
        ),
        ({"memory.storage": "spikes"}, "would replay other images than a surrogate network is shown, which sees grey"),
        ({"learner.epochs": 2, "stream.scenario": "task-free"}, "epochs is 2, expected 1 in a task-free stream"),
        ({"learner.rehearsal_learning_rate": 0.1}, "^rehearsal_learning_rate is 0.1, expected 0.001 with 0 rehearsal"),
        ({"stream.blur": 0.5}, "blur is 0.5, expected 0 outside"),
        ({"stream.kind": "rotated"}, "expected the scenario domain-incremental"),
        ({"learner.grow_heads": True}, "grow_heads is True, expected False with experience replay"),
        (
            {"stream.kind": "folded"},
            "^stream.kind is 'folded', expected one of split, grouped, permuted, rotated; choose one",
        ),
        (
            {"stream.scenario": "free"},
            "^stream.scenario is 'free', expected one of class-incremental, .*task-free; choose",
        ),
        ({"measured_on": "train"}, "^measured_on is 'train', expected one of test, validation; choose one"),
        ({"memory.policy": "ring", "stream.scenario": "task-free"}, "'ring', which divides places by task"),
        ({"measured_on": "validation", "stream.validation_share": 0.0}, "validation_share is 0, expected above 0"),
        ({"learner.method": "latent replay", "memory.storage": "spikes"}, "expected 'raw' with latent replay"),
        ({"seeds": 0}, "seeds is 0"),
        ({"memory.pages": 3}, "memory.pages is not known, expected one of images"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_learned(values, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        config_file.execute(typed.changed(BASE, values), tmp_path / "run", None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("values", [{"memory.images": 3}, {"memory.images": 0, "memory.bytes": 900}])
def test_a_part_that_cannot_be_run_leaves_no_folder(values, tmp_path):
    (part,) = typed.changed(BASE, values).jobs()
    with pytest.raises(InputError, match="fewer than the 4 classes"):
        run_job(part.job, tmp_path / "part", None)
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"memory.storage": "bits"}, "variant 2: memory.storage is 'bits', expected one of raw, spikes"),
        ({"learner": {"readout": "drve"}}, "variant 2: .*learner.readout.*drve"),
        ({"measured_on": "valid"}, "variant 2: .*measured_on.*valid"),
        ({"memory": 3}, "variant 2: memory is 3, expected names"),
        ({"memory": {3: 4}}, "variant 2: memory.3 is not known, expected one of images"),
        ({"memory.images": "many"}, "variant 2: memory.images is 'many', expected a whole number"),
        ({"memory.images": None}, "variant 2: memory.images is null"),
        ({"learner.faults": ["none"]}, "variant 2: .*learner.faults.*none"),
        ({"memory.images": 2.5}, "variant 2: .*memory.images.*2.5"),
        ({"variants": [{}]}, "variant 2: it has variants of its own"),
        ({"learner.replay_batch": 5}, "two variants differ in learner.replay_batch alone.*give them labels"),
        ({"learner.replay_batch": 5, "seed": 7}, "two variants differ in learner.replay_batch alone"),
    ],
)
def test_a_variant_is_checked_like_a_file(values, sentence):
    with pytest.raises(InputError, match=sentence) as raised:
        config_file.build("replay", {**typed.plain(BASE), "variants": [{}, values]})
    assert "\n" not in str(raised.value)


def test_variants_take_the_types_of_a_file():
    same = {"memory.images": "50", "stream.groups": [[0, 1], [2, 3]], "learner.augmentation": {"rotation": 3}}
    (part,) = replace(BASE, variants=(same,)).jobs()
    assert part.job.memory.images == 50
    assert part.job.stream.groups == ((0, 1), (2, 3))
    assert isinstance(part.job.learner.augmentation.rotation, float)
    apart = replace(BASE, variants=({}, {"learner.replay_batch": 5, "label": "few"}, {"seed": 7}, {}))
    assert len(apart.jobs()) == 4


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"stream.scenario": "task-free"}, "grow_heads is true in a task-free stream"),
        ({"stream.scenario": "task-incremental"}, "given a task-incremental stream"),
        ({"stream.scenario": "task-free", "stream.blur": 0.5, "learner.grow_heads": False}, "with blur 0.5"),
        ({"stream.validation_share": 0.0}, "validation_share is 0, expected above 0"),
    ],
)
def test_the_published_learner_is_refused_outside_its_own_scenarios(values, sentence):
    with pytest.raises(InputError, match=sentence):
        typed.changed(PUBLISHED, values)
    free = {"stream.scenario": "task-free", "learner.grow_heads": False}
    (part,) = typed.changed(PUBLISHED, {**free, "learner.faults": (), "stream.validation_share": 0.0}).jobs()
    assert (part.job.stream.scenario, part.job.load(Datasets(None)).scenario) == ("task-free", "class-incremental")


def test_variants_become_rows_reports_and_networks_that_can_be_asked_again(tmp_path):
    config = replace(
        BASE,
        seeds=2,
        preset="best",
        variants=(
            {"learner.method": "naive", "memory.images": 0, "preset": "baseline", "seeds": 1},
            {"memory.images": 40},
            {"memory.images": 40, "stream.scenario": "task-free"},
        ),
    )
    path = tmp_path / "run"
    results = config_file.execute(config, path, None)
    rows = results["rows"]
    assert [(row["scenario"], row["method"], row["preset"], row["seed"]) for row in rows] == [
        ("class-incremental", "naive", "baseline", 0),
        ("class-incremental", "experience replay", "best", 0),
        ("class-incremental", "experience replay", "best", 1),
        ("task-free", "experience replay", "best", 0),
        ("task-free", "experience replay", "best", 1),
    ]
    assert len(list((path / "parts").iterdir())) == 3  # both scenarios are computed once
    assert len({row["average_accuracy"] for row in rows[1:3]}) == 2
    assert json.loads((path / "results.json").read_text())["rows"] == rows
    again = config_file.read(path / "config.yaml")
    assert [part.job for part in again.jobs()] == [part.job for part in config.jobs()]
    asked = replay.evaluate(again, path, None, None)
    assert [row["learner"] for row in asked] == list(dict.fromkeys(part_names(config.jobs())))
    assert asked[1]["accuracy"] == pytest.approx(rows[1]["average_accuracy"], abs=1e-5)
    assert rows[1]["classes"] == [0, 1, 2, 3]
    assert results["versions"]["torch"]
    page = report.write(path).read_text()
    assert "Each task" in page
    assert "Confusion over time" in page
    assert {file.name for file in (path / "figures").glob("*.pdf")} == {
        "arrival.pdf", "memory.pdf", "energy.pdf", "learning.pdf", "confusion.pdf",
    }  # fmt: skip


def test_published_numbers_stand_beside_ours():
    parts = replay.at_scale("paper", preset="published").jobs()
    row = {"method": "any", "seconds": 0}
    rows = [replay._row(part, row) for part in parts]
    found = {
        (each["scenario"], part.job.learner.stored_batches): each["published_averages"]
        for part, each in zip(parts, rows, strict=True)
        if "published_averages" in each and part.job.learner.method != "joint"
    }
    assert len(found) == 14
    assert found["class-incremental", 40] == [0.998, 0.988, 0.75, 0.625, 0.51]
    assert found["task-free", 100] == [0.996, 0.537, 0.527, 0.458, 0.36]
    assert [each["published_averages"] for each in rows if len(each.get("published_averages", "")) == 1] == [[0.901]]
    faults = [each for each in rows if each["preset"] == "faults"]
    assert [len(each["faults"]) for each in faults] == [6, 0, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("name", ["best", "published", "joint", "quick", "methods"])
def test_kept_configurations_are_those_of_the_presets(name):
    file = Path(__file__).parents[2] / "configs" / f"replay_{name}.yaml"
    config = config_file.read(file)
    jobs = [part.job for part in config.jobs()]
    if name in ("quick", "methods"):
        assert len({job.learner.method for job in jobs}) == 8
        return
    preset = "best" if name == "best" else "published"
    assert set(jobs) <= {part.job.as_computed() for part in replay.at_scale("paper", preset=preset).jobs()}
    assert yaml.safe_load(file.read_text())["experiment"] == "replay"


@pytest.mark.parametrize(("name", "preset"), [("published_tables", "published"), ("budgets", "best")])
def test_kept_experiments_are_those_of_reproduce(name, preset):
    config = config_file.read(Path(__file__).parents[2] / "configs" / f"replay_{name}.yaml")
    assert config.jobs() == replay.at_scale("paper", preset=preset).jobs()


@pytest.mark.parametrize(("scale", "learners"), [("quick", 7), ("paper", 15 + 8 + 3 * 8)])
def test_reproduced_learners_have_rows_of_their_own(scale, learners):
    parts = replay.at_scale(scale).jobs()
    assert len({(replay._row_key(part), part.job.seed) for part in parts}) == len(parts) == learners


def test_threads_are_given_back(tmp_path):
    before = torch.get_num_threads()
    run_job(replace(JOB, learner=replace(REPLAY, batch=400)), tmp_path, None)
    assert torch.get_num_threads() == before
