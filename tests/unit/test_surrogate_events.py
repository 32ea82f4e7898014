"""Convolutions on the events of a camera: it learns, keeps what methods keep, and is a checkpoint."""

import numpy as np
import pytest

import spikelore as sl
from spikelore.data.events import Events
from spikelore.data.examples import Examples
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork


def stream():
    rng = np.random.default_rng(0)

    def some(count):
        labels = np.arange(count) % 4
        bins = rng.random((count, 8, 2, 14, 14)) < 0.02
        for one, label in zip(bins, labels, strict=True):
            for t in range(8):  # a bar that moves, in one of two polarities and directions
                at = t + 2 if label % 2 else 10 - t
                one[t, label // 2, at : at + 2] = True
        return Examples(Events.of_bins(bins, bin_us=10_000), labels)

    parts = some(120), some(20), some(40)
    tasks = [sl.Task(str(pair), pair, *(part.of_classes(pair) for part in parts)) for pair in ((0, 1), (2, 3))]
    return sl.Stream("class-incremental", tuple(tasks))


def made(told):
    return sl.SurrogateEventNetwork.for_stream(told, channels=(6,), hidden=(16,), steps=8, bin_ms=10.0)


@pytest.mark.parametrize(
    "method",
    [sl.Joint(epochs=8, batch=8), sl.Replay(memory=sl.Memory(images=40), epochs=8, batch=8),
     sl.LatentReplay(memory=sl.Memory(images=40), epochs=8, batch=8)],
    ids=["joint", "replay", "latent replay"],
)  # fmt: skip
def test_it_learns_and_keeps(method, tmp_path):
    told = stream()
    network = made(told)
    assert sl.run(told, network, method).average_accuracy > 0.65  # one that forgets has at most .5
    inputs = told.tasks[0].test.inputs
    network.save(tmp_path / "network.safetensors")
    again = sl.load(tmp_path / "network.safetensors")
    np.testing.assert_array_equal(again.predict(inputs), network.predict(inputs))
    np.testing.assert_array_equal(network.class_scores(inputs), network.class_scores(network.spikes_of(inputs)))
    assert network.cost(inputs).spikes > network.spikes_of(inputs).sum() / len(inputs)


def test_streams_of_another_kind_are_refused():
    with pytest.raises(sl.InputError, match="expected images for this network; take a network of recordings"):
        SurrogateNetwork.for_stream(stream())
    images = sl.split_stream("digits-sample", [(0, 1)])
    with pytest.raises(sl.InputError, match=r"of shape \(28, 28\), expected recordings of a camera"):
        sl.SurrogateEventNetwork.for_stream(images)
    with pytest.raises(sl.InputError, match=r"^network.coding is 'bernoulli_once', expected 'events'"):
        sl.SurrogateEventNetwork(SurrogateConfig(), made(stream()).generator)
