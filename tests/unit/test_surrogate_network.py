"""The surrogate-gradient network: coding, layers, heads, counts, checkpoints and learning."""

import numpy as np
import pytest
import torch

from spikelore.data import load
from spikelore.errors import InputError, SpikeloreError
from spikelore.files import load_tensors, save_tensors
from spikelore.kernels.lif_scan import Leaky
from spikelore.learning.surrogate_gradient import (
    adam,
    epoch_,
    membrane_loss,
    predict,
    rate_loss,
    spike_count_loss,
    step_,
)
from spikelore.networks.stepwise import stepwise
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.randomness import torch_generator


def network(seed=0, **changes):
    return SurrogateNetwork(
        SurrogateConfig(**{"steps": 6, "neuron": Leaky(threshold=0.1), **changes}), torch_generator(seed, "test")
    )


def images(count=4, seed=0):
    return torch.rand(count, 28, 28, generator=torch.Generator().manual_seed(seed))


def test_published_sizes():
    shapes = {name: tuple(each.shape) for name, each in network().state_dict().items()}
    assert shapes == {
        "convolutions.0.weight": (12, 1, 5, 5), "convolutions.0.bias": (12,),
        "convolutions.1.weight": (64, 12, 5, 5), "convolutions.1.bias": (64,),
        "heads.0.weight": (10, 1024), "heads.0.bias": (10,),
    }  # fmt: skip


def test_spikes_over_time_of_images_with_or_without_a_channel_axis():
    each = network(coding="constant")
    spikes = each(images())
    assert spikes.shape == (6, 4, 10)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(spikes, each(images()[:, None]))


def test_bernoulli_spikes_have_the_pixels_as_probabilities():
    half = torch.full((2, 28, 28), 0.5)
    once, each = network().encode(half), network(coding="bernoulli").encode(half)
    assert once.shape == (1, 2, 1, 28, 28)
    assert each.shape == (6, 2, 1, 28, 28)
    assert set(each.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(each[0], each[1])
    assert each.mean() == pytest.approx(0.5, abs=0.02)  # 9408 draws: four standard deviations


def test_the_same_generator_gives_the_same_network_and_draws():
    first, second = network(), network()
    for _ in range(2):
        assert torch.equal(first(images()), second(images()))
    assert not torch.equal(first.encode(images()), first.encode(images()))


def test_without_memory_all_steps_are_alike():
    alike = network(membrane="reinitialised", coding="constant", steps=5)
    assert len(alike.features(images())) == 1
    spikes = alike(images() * 3)
    assert spikes.any()
    assert torch.equal(spikes, spikes[:1].expand_as(spikes))
    carried = network(coding="constant", steps=5)(images() * 3)
    assert not torch.equal(carried[0], carried[-1])


def test_without_memory_gradients_are_those_of_one_step_times_all():
    gradients = []
    for steps in (1, 5):
        each = network(membrane="reinitialised", coding="constant", steps=steps)
        (each(images()) * torch.arange(10.0)).sum().backward()
        gradients.append(each.convolutions[0].weight.grad)  # type: ignore[union-attr]
    torch.testing.assert_close(gradients[1], 5 * gradients[0])  # type: ignore[operator]
    assert gradients[0].abs().max() > 0


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize("split", [0, 1, 2, 3])
@pytest.mark.parametrize("membrane", ["carried", "reinitialised"])
@pytest.mark.parametrize("coding", ["constant", "bernoulli"])
def test_head_after_features_is_the_whole(split, membrane, coding, pooling):
    one, other = (
        network(coding=coding, hidden=(32,), split=split, membrane=membrane, pooling=pooling) for _ in range(2)
    )
    labels = torch.arange(4)
    whole, parts = one(images()), other.head(other.features(images()))
    assert whole.any()
    assert torch.equal(whole, parts)
    for each, spikes in ((one, whole), (other, parts)):
        spike_count_loss(spikes, labels).backward()
        assert each.convolutions[0].weight.grad.abs().max() > 0
    for mine, yours in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-3, atol=1e-6)


def test_features_are_spikes_of_the_split_layer():
    features = network(coding="constant", split=1).features(images())
    assert features.shape == (6, 4, 12, 12, 12)
    assert set(features.unique().tolist()) == {0.0, 1.0}


def test_heads_grow_and_their_columns_stay():
    growing = network(classes=0, coding="constant")
    with pytest.raises(InputError, match="no head"):
        growing(images())
    growing.add_head(2)
    before = growing(images() * 2)
    growing.add_head(3)
    after = growing(images() * 2)
    assert growing.head_sizes == [2, 3]
    assert (growing.head_columns(0), growing.head_columns(-1)) == (slice(0, 2), slice(2, 5))
    assert torch.equal(after[:, :, growing.head_columns(0)], before)
    with pytest.raises(InputError, match="0 classes"):
        growing.add_head(0)


def test_alignment_gives_the_newest_head_the_mean_norm_of_the_older():
    growing = network(classes=2)
    growing.align_heads_()  # one head: nothing to align with
    growing.add_head(2)
    with torch.no_grad():
        growing.heads[0].weight.copy_(torch.eye(2, 1024) * torch.tensor([[1.0], [3.0]]))
        growing.heads[1].weight.copy_(torch.eye(2, 1024) * torch.tensor([[4.0], [12.0]]))
    growing.align_heads_()
    assert growing.heads[0].weight.norm(dim=1).tolist() == [1, 3]
    assert growing.heads[1].weight.norm(dim=1).tolist() == [1, 3]  # mean norm 2, proportions kept
    with torch.no_grad():
        growing.heads[1].weight.zero_()
    growing.align_heads_()
    assert not growing.heads[1].weight.any()


def test_operations_counted_by_hand():
    tiny = SurrogateNetwork(
        SurrogateConfig(image=(1, 3, 3), channels=(2,), kernel=2, pool=2, hidden=(5,), classes=3, steps=4,
                        neuron=Leaky(beta=1.0)),
        torch_generator(0, "tiny"),
    )  # fmt: skip
    with torch.no_grad():
        for layer in (*tiny.convolutions, *tiny.hidden, *tiny.heads):
            layer.weight.zero_()
            layer.bias.zero_()
        tiny.convolutions[0].bias.copy_(torch.tensor([2.0, 0.0]))  # the first map spikes at every step
        tiny.hidden[0].bias[0] = 0.6  # potentials .6 1.2 .8 1.4: spikes at steps 2 and 4
    image = torch.zeros(2, 3, 3)
    image[0, 1, 1], image[1, 0, 0] = 1, 1  # the middle pixel reaches 4 places, the corner 1, times 2 maps
    found = tiny.count_operations(image)
    assert found.spikes.tolist() == [4 + 4 + 2] * 2
    assert found.accumulates.tolist() == [4 * 8 + 4 * 5 + 2 * 3, 4 * 2 + 4 * 5 + 2 * 3]
    assert found.multiply_accumulates.tolist() == [0, 0]


def test_currents_cost_multiplications_once_an_image():
    found = network(coding="constant").count_operations(torch.ones(1, 28, 28))
    assert found.multiply_accumulates.tolist() == [12 * 25 * 24 * 24]


def test_checkpoint_gives_the_same_network(tmp_path):
    first = network(classes=2, coding="constant", neuron=Leaky(reset="zero", surrogate="atan", slope=2.0))
    first.add_head(3)
    first.save(tmp_path / "network.safetensors")
    second = SurrogateNetwork.load(tmp_path / "network.safetensors")
    assert second.config == first.config
    assert second.head_sizes == [2, 3]
    assert torch.equal(second(images()), first(images()))


def test_broken_checkpoints_are_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    network().save(path)
    tensors, metadata = load_tensors(path)
    save_tensors(path, {**tensors, "heads.0.bias": np.full(10, np.nan, np.float32)}, metadata)
    with pytest.raises(InputError, match="not finite"):
        SurrogateNetwork.load(path)
    save_tensors(path, {**tensors, "heads.0.bias": np.zeros(9, np.float32)}, metadata)
    with pytest.raises(InputError, match="does not describe a surrogate network"):
        SurrogateNetwork.load(path)
    save_tensors(path, tensors, {**metadata, "format": "another"})
    with pytest.raises(InputError, match="'another'"):
        SurrogateNetwork.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "network.steps is 0"),
        ({"image": (1, 10, 10)}, "too small"),
        ({"split": 4}, "network.split is 4"),
        ({"coding": "poisson"}, "network.coding is 'poisson'"),
        ({"channels": (12, 0)}, "every size"),
    ],
)
def test_configurations_without_sense_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        SurrogateConfig(**change)


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match="the network takes"):
        network()(torch.zeros(1, 20, 20))


def test_losses_have_their_formulas():
    spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])  # T 2, B 1, K 2: counts 2 and 1
    label = torch.tensor([0])
    assert float(spike_count_loss(spikes, label)) == pytest.approx(np.log(1 + np.exp(-1)))
    assert float(rate_loss(spikes, label)) == pytest.approx(0.125)
    assert float(rate_loss(spikes, label, correct=0.8, incorrect=0.2)) == pytest.approx((0.2**2 + 0.3**2) / 2)
    assert float(membrane_loss(spikes, label)) == pytest.approx(np.log(2))
    assert float(membrane_loss(spikes, label, over_time="mean")) == pytest.approx(np.log(1 + np.exp(-0.5)))


def test_a_loss_that_is_no_number_changes_nothing():
    each = network()
    before = [parameter.clone() for parameter in each.parameters()]
    loss = each(images()).sum() * float("nan")
    with pytest.raises(SpikeloreError, match="the loss is nan"):
        step_(loss, adam(each.parameters()))
    assert all(torch.equal(now, then) for now, then in zip(each.parameters(), before, strict=True))


@pytest.mark.parametrize("name", ["convolutions.0.weight", "convolutions.1.bias", "heads.0.weight"])
@pytest.mark.parametrize("surrogate", ["atan", "fast_sigmoid"])
def test_weights_that_are_no_numbers_are_seen_though_they_never_spike(name, surrogate):
    each = network(neuron=Leaky(threshold=0.1, surrogate=surrogate, slope=2.0))
    parameters = dict(each.named_parameters())
    with torch.no_grad():
        parameters[name][0] = float("nan")
    before = [parameter.clone() for parameter in each.parameters()]
    loss = spike_count_loss(each(images()), torch.tensor([0, 1, 2, 3]))
    assert bool(loss.isfinite())
    with pytest.raises(SpikeloreError, match="the gradients' norm is nan"):
        step_(loss, adam(each.parameters()))
    pairs = zip(each.parameters(), before, strict=True)
    assert all(torch.allclose(now, then, rtol=0, atol=0, equal_nan=True) for now, then in pairs)


@pytest.mark.parametrize(("loss", "at_least"), [(spike_count_loss, 0.7), (rate_loss, 0.4), (membrane_loss, 0.55)])
def test_learns_digits_within_a_moment(loss, at_least, learned, seed):
    train = load("digits-sample").train
    pick = np.random.default_rng(seed).permutation(len(train))[:1200]
    shown, labels = torch.from_numpy(train.inputs[pick]).float() / 255, torch.from_numpy(train.labels[pick])
    each = network(seed, coding="constant", neuron=Leaky(beta=0.9), steps=5)
    optimiser = adam(each.parameters(), 3e-3)
    forward = each if loss != membrane_loss else lambda images: each.with_potentials(images)[1]
    losses = [epoch_(forward, shown[:960], labels[:960], optimiser, batch=32, loss=loss) for _ in range(3)]
    learned("loss of the last epoch over the first", losses[2] / losses[0], at_most=0.75)
    learned("accuracy", (predict(each, shown[960:]) == labels[960:]).float().mean(), at_least=at_least)


def test_a_model_of_single_steps_becomes_a_network():
    states = []

    def step(shown):
        states.append(len(states))
        return torch.full((len(shown), 2), float(len(states) % 2))

    assert stepwise(step, 3)(images())[:, 0, 0].tolist() == [1, 0, 1]


def test_a_read_out_of_more_inputs_than_a_window_can_number():
    wide = SurrogateNetwork(
        SurrogateConfig(image=(1, 4, 70000), channels=(1,), kernel=1, pool=1, classes=2, steps=2, coding="constant"),
        torch_generator(0, "wide"),
    )
    with torch.no_grad():
        wide.convolutions[0].weight.fill_(2.0)
        wide.convolutions[0].bias.zero_()
        wide.heads[0].weight.zero_()
        wide.heads[0].bias.zero_()
        wide.heads[0].weight[1, -1] = 2.0
    image = torch.zeros(1, 4, 70000)
    image[0, 3, -1] = 1.0  # only the last of 280000 inputs of the read-out spikes
    assert wide(image)[0].tolist() == [[0, 1]]


def test_a_pixel_a_rounding_above_1_is_a_sure_spike():
    one, other = network(coding="bernoulli"), network(coding="bernoulli")
    white = images().clamp(0, 1)
    white[0, 3, 5] = 1.0
    above = white.clone()
    above[0, 3, 5] = 1.0 + 2**-23
    assert torch.equal(one.encode(above), other.encode(white))
    assert torch.equal(one.generator.get_state(), other.generator.get_state())
    with pytest.raises(InputError, match="expected probabilities of a spike"):
        one.encode(above * 2)


def test_convolutions_in_strides_are_those_of_torch():
    one = Leaky(beta=0.0, threshold=0.1)
    strided = network(pooling="stride", pool=3, kernel=4, coding="constant", neuron=one, steps=1, split=2)
    shapes = [(1, 28, 28), (12, 9, 9), (64, 2, 2)]
    assert strided.config.shapes() == shapes
    signal = images()[:, None]
    for layer in strided.convolutions:
        signal = (torch.nn.functional.conv2d(signal, layer.weight, layer.bias, stride=3) > 0.1).float()
    assert signal.any()
    assert torch.equal(strided.features(images())[0], signal.permute(0, 2, 3, 1))
    currents = torch.nn.functional.linear(signal.flatten(1), strided.heads[0].weight, strided.heads[0].bias)
    assert torch.equal(strided(images())[0].bool(), currents > 0.1)


@pytest.mark.parametrize("side", [7, 8, 9, 10])
def test_a_spike_reaches_the_places_of_a_stride(side):
    strided = network(pooling="stride", pool=3, kernel=4, image=(1, side, side), channels=(2,), coding="constant")
    reached = np.zeros((side, side))
    for row, column in np.ndindex(*((side - 4) // 3 + 1,) * 2):
        reached[3 * row : 3 * row + 4, 3 * column : 3 * column + 4] += 2
    assert 0 < reached.max() <= 8
    np.testing.assert_array_equal(strided._fan_out(0)[0].numpy(), reached)
