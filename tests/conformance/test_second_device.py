"""Networks that gradients teach, with every method, on a second device: the processor's answers, nothing mixed."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from conformance_parts import MEMORY, Rates, methods, small_stream, spike_stream

import spikelore as sl
from second_device import THERE, SecondDevice
from spikelore.continual.methods import MemorySettings
from spikelore.experiments.job import Job
from spikelore.experiments.learner_settings import LearnerSettings
from spikelore.experiments.stream_settings import StreamSettings
from spikelore.networks.surrogate_config import SurrogateConfig

ALIKE = (
    "decay, replay", "weight decay", "pruning, random", "fusion, top fraction", "bagging", "fusion, then replay",
    "every second",
)  # fmt: skip
"""Methods that do nothing on a device that another one here does not do."""

METHODS = {
    name: method
    for name, method in methods(MEMORY, batch=8, epochs=1).items()
    if name not in ALIKE
} | {
    "gdumb": sl.GDumb(memory=MEMORY, rehearsal_steps=1, batch=8),
    "ewc": sl.ElasticWeightConsolidation(batch=8, fisher_images=2),
    "langevin bounds": sl.LangevinBounds(base=sl.Naive(batch=8), images=4, records=2),
}  # fmt: skip


@cache
def few(stream) -> sl.Stream:
    """Return the first inputs of each class."""

    def some(examples, count):
        places = [np.flatnonzero(examples.labels == label)[:count] for label in np.unique(examples.labels)]
        return examples.take(np.sort(np.concatenate(places)))

    return replace(
        stream(),
        tasks=tuple(replace(task, train=some(task.train, 4), test=some(task.test, 2)) for task in stream().tasks),
    )


def surrogate(**changes):
    settings = {"channels": (3, 4), "hidden": (8,), "units_per_class": 2, "steps": 2, **changes}
    return sl.SurrogateNetwork.for_stream(few(small_stream), seed=0, **settings)


def recurrent(**changes):
    varied = sl.RecordingAugmentation(shift=0.1, tempo=0.3, thinning=0.2, band=0.2)
    learning = sl.GradientLearning(learning_rate=5e-3, readout="mean", averaging=0.98, recording_augmentation=varied)
    settings = {"hidden": (12, 8), "units_per_class": 2, "steps": 3, **changes}
    return sl.RecurrentNetwork.for_stream(few(spike_stream), seed=0, learning=learning, **settings)


def wrapped():
    return sl.TorchNetwork(Rates(4), (0, 1, 2, 3), (28, 28), name="wrapped", learning=sl.GradientLearning(5e-3))


MADE = {
    "surrogate": (small_stream, surrogate),
    "recurrent": (spike_stream, recurrent),
    "wrapped": (small_stream, wrapped),
}
CELLS = [
    *(("surrogate", method) for method in METHODS if method != "published replay"),
    *(("recurrent", method) for method in ("naive", "experience replay", "latent replay", "slda", "hlop", "ewc")),
    *(("wrapped", method) for method in ("naive", "published replay", "der++", "hlop")),
]
"""What a method does is tried on one network, what a network does with few methods."""


def assert_alike(found, expected, began) -> None:
    """Weights moved alike: sums differ in their order, and where that lets a neuron spike, in little else."""
    for name, start in began.items():
        moved = np.abs(expected[name] - start).mean()
        assert np.abs(found[name] - expected[name]).mean() <= 0.05 * moved + 1e-6, name


def state(network) -> dict[str, np.ndarray]:
    return {name: each.detach().cpu().numpy().copy() for name, each in network.module.named_parameters()}


@pytest.mark.parametrize(("network", "method"), CELLS)
def test_a_run_on_a_second_device_is_that_of_the_processor(network, method):
    stream, make = MADE[network]
    here, began = make(), state(make())
    told = sl.ContinualRun(few(stream), here, METHODS[method], seed=0)
    expected = told.finish()
    with SecondDevice():
        there = make()
        there.module.to(THERE)
        run = sl.ContinualRun(few(stream), there, METHODS[method], seed=0)
        found = run.finish()
        assert {each.device for each in run.network.module.parameters()} == {THERE}
        arrays, facts = run.state_dict()
        assert_alike(state(there), state(here), began)
    assert found.accuracy_matrix.shape == expected.accuracy_matrix.shape
    assert (found.memory_bytes, found.memory_images) == (expected.memory_bytes, expected.memory_images)

    # Its state goes on anywhere.
    again = sl.ContinualRun(few(stream), make(), METHODS[method], seed=0)
    again.load_state_dict(arrays, facts)
    for name, array in again.state_dict()[0].items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: surrogate(coding="constant", membrane="carried"),
        lambda: surrogate(coding="bernoulli", pooling="stride"),
        lambda: surrogate(channels=(), hidden=(6, 5)),
        lambda: recurrent(recurrent=(True, False), output="integrator"),
        lambda: recurrent(times="neuron"),
        lambda: recurrent(times="fixed", gradient="e-prop"),
    ],
)
def test_a_step_leaves_two_numbers_alone_to_the_processor(make):
    here, began = make(), state(make())
    task = few(small_stream if here.name == "surrogate" else spike_stream).tasks[0].train
    for _ in range(2):
        here.learn_(task.inputs, task.labels)
    with SecondDevice() as device:
        there = make().to(THERE)
        for step in range(2):
            there.learn_(task.inputs, task.labels)
            assert device.copied == 2 * (step + 1)  # the loss and the norm of its gradients
        scores = there.class_scores(task.inputs)
        assert_alike(state(there), state(here), began)
        there.to("cpu")
    np.testing.assert_allclose(scores, here.class_scores(task.inputs), atol=0.02, rtol=0.02)
    there.learn_(task.inputs, task.labels)  # Adam's moments came along


def test_what_is_seen_of_units_and_synapses_there():
    with SecondDevice():
        network = surrogate().to(THERE)
        network.unit_plasticity = np.linspace(0, 1, 8, dtype=np.float32)
        np.testing.assert_array_equal(network.copy().unit_plasticity, network.unit_plasticity)
        layer = network.synapses()["hidden.0"]
        layer.weights[:] = 0.5
        network.synapses_changed_()
        assert float(network.hidden[0].weight.detach().min().cpu()) == 0.5
        assert network.features_digest == network.copy().cpu().features_digest
        assert network.unit_weights.shape == (8, 9)


def test_draws_are_those_of_the_processor():
    network = surrogate(coding="bernoulli", steps=5)
    images = torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(1))
    expected, after = network.encode(images), network.generator.get_state()
    with SecondDevice():
        there = surrogate(coding="bernoulli", steps=5).to(THERE)
        found = there.encode(images.to(THERE)).cpu()
    assert torch.equal(found, expected)
    assert torch.equal(there.generator.get_state(), after)


def test_a_job_computes_where_its_execution_says():
    job = Job(
        "digits-sample", 0, StreamSettings(), SurrogateConfig(channels=(2,), steps=2), LearnerSettings("naive"),
        MemorySettings(),
    )  # fmt: skip
    stream = few(small_stream)
    with SecondDevice():
        run = job.run(stream, [len(task.train) for task in stream.tasks], "meta")
        assert run.finish().cost is not None
        assert {each.device for each in run.network.module.parameters()} == {THERE}
