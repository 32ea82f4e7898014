"""The bench of the surrogate network checks its kernels and prints what it measured."""

import pytest
import torch

from spikelore.bench import rounds, surrogate
from spikelore.errors import InputError, SpikeloreError
from spikelore.kernels.lif_convolution import numba_cpu


def sample():
    images, labels = surrogate._sample(4, 0)
    return images, labels


def test_answers_are_those_of_the_reference():
    assert surrogate._check(0, *sample()).startswith("spikes equal the reference's")


def test_a_wrong_kernel_has_no_speed(monkeypatch):
    right = numba_cpu.backward

    def wrong(*arguments):
        currents, weights, bias = right(*arguments)
        return currents, weights * 1.001, bias

    monkeypatch.setattr(numba_cpu, "backward", wrong)
    with pytest.raises(SpikeloreError, match="differ from the reference's"):
        surrogate._check(0, *sample())


def test_rates_and_memory_are_told(monkeypatch):
    monkeypatch.setattr(rounds, "_ROUNDS", 1)
    monkeypatch.setattr(surrogate, "_memory_in_new_process", lambda seed: 1)
    answer = surrogate.surrogate(128, 0)
    assert answer["training_memory_bytes"] == 1
    assert answer["threads"] == torch.get_num_threads()
    assert [row["work"] for row in answer["rows"]] == ["training", "inference"]
    assert all(row["images_per_second"] > 0 for row in answer["rows"])


def test_less_than_a_batch_is_refused():
    with pytest.raises(InputError, match="--images is 64"):
        surrogate.surrogate(64, 0)
