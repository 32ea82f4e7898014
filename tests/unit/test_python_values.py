"""Values that a program may hand over: they are used rightly or refused in a sentence, and NaN decides nothing."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from methods_by_name import create, settings_of
from spikelore.coding.poisson import level_probabilities
from spikelore.coding.rank_order import DifferenceOfGaussians, RankOrderConfig
from spikelore.continual.fusion import fuse, fuse_by_assignment, merge, plasticity, scaled
from spikelore.continual.importance import top_fraction
from spikelore.continual.methods import MemorySettings
from spikelore.continual.unused_decay import WeightDecay, decay_unused_, faded_share, kept_share, prune_smallest_
from spikelore.data.examples import Examples
from spikelore.data.idx import read_idx, write_idx
from spikelore.data.noise import blurred_noise, white_noise
from spikelore.errors import InputError, check_whole
from spikelore.experiments.threads import one_thread
from spikelore.kernels.reward_stdp import decide
from spikelore.learning import reward_stdp, template_stdp
from spikelore.learning.reward_stdp import RewardStdpConfig
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.learning.surrogate_gradient import predict
from spikelore.metrics.continual import average_accuracies, forward_transfer
from spikelore.metrics.synaptic_operations import convolution_operations
from spikelore.networks.first_spike import (
    DecisionLayerConfig,
    FeatureLayerConfig,
    FirstSpikeConfig,
    FirstSpikeNetwork,
)
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
from spikelore.networks.readout import Decision
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.shapes import as_order, as_shares

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 20, 16)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture(scope="module")
def first_spike():
    config = FirstSpikeConfig(
        layer_1=FeatureLayerConfig(4, 5, 2, 15.0, 2, 5, 3),
        layer_2=FeatureLayerConfig(6, 3, 1, 4.0, 3, 8, 1),
        decision=DecisionLayerConfig(features=6, kernel=3, padding=1),
    )
    return FirstSpikeNetwork.create(config, (0, 1, 2), 0)


@pytest.fixture(scope="module")
def features(first_spike):
    return first_spike.features(first_spike.encode(IMAGES))


def surrogate(**changes):
    sizes = {"image": (1, 9, 7), "channels": (3,), "kernel": 3, "classes": 3, "steps": 4, "coding": "constant"}
    network = SurrogateNetwork(SurrogateConfig(**{**sizes, **changes}), torch.Generator().manual_seed(0))
    network.decision = Decision((0, 1, 2), (0, 1, 2))
    return network


def test_an_order_is_of_images_that_are_there():
    assert as_order([2.0, 0], 3).tolist() == [2, 0]
    for order, says in (([3], "holds 3"), ([-1], "holds -1"), ([], "is empty"), ([True, False], "is a mask")):
        with pytest.raises(InputError, match=says):
            as_order(np.array(order), 3)


def test_shares_are_one_each_of_0_to_1():
    assert as_shares([0, 1], 2, "plasticity").dtype == np.float32
    for shares in ([0.5], [0.5, np.nan], [0.5, 1.1], [[0.5], [1.0]], ["a", "b"]):
        with pytest.raises(InputError, match="plasticity"):
            as_shares(np.array(shares), 2, "plasticity")


def test_learning_refuses_images_that_are_not_there(first_spike, features):
    bins = first_spike.encode(IMAGES)
    for order in ([99], [-1], []):
        with pytest.raises(InputError, match="order"):
            learn_layer(first_spike, 1, bins, np.array(order, np.int64), StdpConfig())
        with pytest.raises(InputError, match="order"):
            reward_stdp.learn_epoch(first_spike, features, LABELS, np.array(order, np.int64), RewardStdpConfig().base())
    for wrong in (np.full_like(bins, -1), np.full_like(bins, 100)):
        with pytest.raises(InputError, match="expected 0 to 15"):
            learn_layer(first_spike, 1, wrong, np.arange(6), StdpConfig())
    with pytest.raises(InputError, match="layer is 3"):
        learn_layer(first_spike, 3, bins, np.arange(6), StdpConfig())
    with pytest.raises(InputError, match=r"plasticity is .* of shape \(2,\)"):
        template_stdp.learn_more(
            first_spike, features, LABELS, 1, template_stdp.TemplateStdpConfig(), 0, plasticity=np.ones(2, np.float32)
        )


@pytest.mark.parametrize("name", ["weights_1", "weights_2", "unit_weights", "unit_gains"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_first_spike_network_with_a_weight_that_is_no_number_does_not_decide(first_spike, name, value):
    weights = getattr(first_spike, name).copy()
    weights.flat[0] = value
    with pytest.raises(InputError, match=f"^{name} holds NaN or infinite"):
        replace(first_spike, **{name: weights}).predict(IMAGES)


def test_units_that_do_not_fit_are_refused_before_a_kernel_reads_them(first_spike):
    for weights, classes in (
        (first_spike.unit_weights, first_spike.unit_classes[:2]),
        (first_spike.unit_weights[:, :2], first_spike.unit_classes),
    ):
        with pytest.raises(InputError, match="but its configuration says"):
            first_spike.with_units(weights, classes).predict(IMAGES)


def test_potentials_that_are_no_numbers_decide_nothing():
    assert decide(np.array([[0, np.nan], [1, np.inf], [1, 2], [0, 0]])).tolist() == [-1, -1, 1, -1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fusion_refuses_weights_that_are_no_numbers(first_spike, value):
    weights = first_spike.unit_weights.copy()
    weights.flat[0] = value
    bad = first_spike.with_units(weights, first_spike.unit_classes)
    for fusing in (fuse, merge, lambda networks: fuse_by_assignment(*networks)):
        with pytest.raises(InputError, match="network 2 has unit weights that are not finite"):
            fusing([first_spike, bad])


def test_fusion_refuses_what_is_no_budget_or_importance(first_spike):
    two = [first_spike, first_spike]
    for budgets in ([{0: 1.5}, {0: 1}], [None, {0: 1}], [{}, {}], [{0: 0}, {0: 0}]):
        for fusing in (fuse, merge):
            with pytest.raises(InputError, match="budget"):
                fusing(two, budgets=budgets)
    assert merge(two, budgets=[{9: 0}, {0: 1}]).classes == (0,)
    for importances in ([np.ones(6)], [np.ones(2), np.ones(6)], [np.ones(6), np.full(6, np.nan)]):
        with pytest.raises(InputError, match="importances have shapes"):
            fuse(two, importances=importances)
    assert fuse(two, importances=[[1] * 6, [1] * 6]).classes == (0, 1, 2)
    for share in (-0.1, 1.1, np.nan):
        with pytest.raises(InputError, match="protected is"):
            plasticity([{0: 2}], share)
        with pytest.raises(InputError, match="fraction is"):
            top_fraction(first_spike.unit_weights, share)
    silent = first_spike.with_units(first_spike.unit_weights * 0, first_spike.unit_classes)
    assert np.isfinite(scaled(silent, "over sum").unit_gains).all()


@pytest.mark.parametrize("readout", ["spikes", "drive"])
@pytest.mark.parametrize("name", ["convolutions.0.weight", "heads.0.weight", "heads.0.bias"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_surrogate_network_with_a_weight_that_is_no_number_decides_nothing(readout, name, value):
    network, images = surrogate(), IMAGES[:, :9, :7]
    network.decision = Decision((0, 1, 2), (0, 1, 2), readout)
    assert (network.predict(images) >= 0).all()
    learner = create(network, settings_of("naive"), MemorySettings(), (0, 1, 2), (9, 7), 0)
    with torch.no_grad():
        network.get_parameter(name).view(-1)[0] = value
    assert (network.predict(images) == -1).all()
    assert np.isnan(network.class_scores(images)).all()
    assert (predict(network, torch.from_numpy(images / 255).float()) == -1).all()
    assert (learner.decide(images, (0, 1, 2)) == -1).all()


def test_a_surrogate_network_decides_among_classes_that_it_has():
    network, images = surrogate(), IMAGES[:, :9, :7]
    assert (
        network.predict(images.astype(np.int64)[:, None], np.array([1, 2])) == network.predict(images, (1, 2))
    ).all()
    with pytest.raises(InputError, match=r"decide among are \[7\]"):
        network.predict(images, (7,))
    network.decision = Decision((0, 1, 2, 3), (0, 1))
    with pytest.raises(InputError, match="names 4 classes, expected at most one for each of its 3 outputs"):
        network.predict(images)
    for wrong in (((0, 0), (0,)), ((0, 1), (2,)), ((0,), (0,), "loud"), ((0,), (0,), "spikes", "colour")):
        with pytest.raises(InputError, match="decision"):
            Decision(*wrong)
    for sizes in ({"steps": 2.5}, {"image": (1, 9.0, 7)}, {"channels": 3}):
        with pytest.raises(InputError, match="whole number"):
            surrogate(**sizes)
    with pytest.raises(InputError, match="expected a float32 tensor"):
        network(images)
    with pytest.raises(InputError, match="images hold NaN"):
        predict(network, torch.full((1, 9, 7), torch.nan))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_rate_coded_network_with_a_weight_that_is_no_number_is_refused(tmp_path, value):
    config = RateLIFConfig(classes=(0, 1), neurons_per_class=2, height=5, width=4, dt_ms=1.0, active_ms=5.0)
    network = RateLIFNetwork(config, seed=0)
    network.weights[0, 0] = value
    for use in (network.predict, network.class_scores, lambda images: network.train(images, LABELS % 2)):
        with pytest.raises(InputError, match="weights hold NaN or infinite"):
            use(IMAGES[:, :5, :4])
    network.save(tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="weights of the checkpoint holds"):
        RateLIFNetwork.load(tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"counts have shape \(3, 5\), expected \(images, 4\)"):
        network.decide(np.zeros((3, 5), np.int64))


class Synapses:
    def __init__(self, weights):
        self.weights, self.last_presynaptic_spike_ms, self.now_ms = weights, np.zeros(2), 100.0


def test_decay_works_on_finite_floats_that_may_be_written():
    fixed = np.ones(2)
    fixed.setflags(write=False)
    for weights in (np.ones(2, np.int64), np.array([1, np.nan]), np.array([1, np.inf]), fixed, [1.0, 1.0]):
        for fade in (
            lambda each: decay_unused_(each, tau_prune_ms=50.0),
            WeightDecay(tau_ms=5.0).tick_,
            lambda each: prune_smallest_(each, 0.5),
        ):
            with pytest.raises(InputError, match="weights"):
                fade(Synapses(weights))
    for weights, largest in ((np.array([]), 1.0), (np.array([np.nan]), 1.0), (np.ones(2), 0.0)):
        with pytest.raises(InputError, match="weight"):
            faded_share(weights, largest)
    with pytest.raises(InputError, match="idle_ms holds NaN"):
        kept_share(np.array([np.nan]), 5.0)


def test_constants_and_numbers_that_mean_nothing_are_refused(tmp_path):
    generator = np.random.default_rng(0)
    for refused in (
        lambda: check_whole("count", 2.5),
        lambda: RankOrderConfig(threshold=float("nan")),
        lambda: RankOrderConfig(normalization_radius=-1),
        lambda: RankOrderConfig(filters=(DifferenceOfGaussians(3, 1.0, 1.0),)),
        lambda: level_probabilities(0.25, 0.0),
        lambda: white_noise(2.5, 5, 4, 30.0, generator),
        lambda: blurred_noise(2, 5, 4, 30.0, generator, np.inf),
        lambda: Examples(IMAGES, LABELS).take(np.array([99])),
        lambda: average_accuracies([["a"]]),
        lambda: forward_transfer(np.eye(3), np.zeros(2)),
        lambda: convolution_operations(np.ones((1, 1, 4, 4), bool), features=2, kernel=0, padding=0),
        lambda: settings_of("naive", batch=2.5).split(MemorySettings()),
        lambda: MemorySettings(images=2.5).budget(),
        lambda: write_idx(tmp_path / "a", [1, 2]),
    ):
        with pytest.raises(InputError):
            refused()
    write_idx(str(tmp_path / "a.gz"), torch.arange(3, dtype=torch.uint8))
    assert read_idx(str(tmp_path / "a.gz")).tolist() == [0, 1, 2]


def learner(method):
    return create(surrogate(), settings_of(method), MemorySettings(images=6), (0, 1, 2), (9, 7), 0)


def test_a_learner_takes_only_the_state_of_such_a_learner():
    arrays, facts = learner("ewc").state_dict()
    with pytest.raises(InputError, match="of the method 'ewc', expected 'naive'"):
        learner("naive").load_state_dict(arrays, facts)
    weights = {name: array for name, array in arrays.items() if name.startswith("network/")}
    for part, told in ((weights, facts), (arrays, "{}"), (arrays, "not JSON")):
        with pytest.raises(InputError, match="not of such a learner"):
            learner("ewc").load_state_dict(part, told)
    arrays["network/heads.0.bias"] = arrays["network/heads.0.bias"] * np.nan
    with pytest.raises(InputError, match=r"heads.0.bias of the saved network holds NaN"):
        learner("ewc").load_state_dict(arrays, facts)


def test_a_generator_that_cannot_be_replaced_is_left_alone():
    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(63, 3)

        @property
        def generator(self):
            return torch.Generator()

        def forward(self, images):
            return self.layer(images.flatten(1)).unsqueeze(0)

    each = create(Fixed(), settings_of("naive"), MemorySettings(), (0, 1, 2), (9, 7), 0)
    each.learn(IMAGES[:, :9, :7], LABELS, 0)
    with each.asked():
        assert (each.decide(IMAGES[:, :9, :7], (0, 1, 2)) >= 0).all()


def test_blocks_of_one_thread_side_by_side_leave_the_number_that_was_set_before():
    before = torch.get_num_threads()
    begun, entered, left = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def first():
        with one_thread():
            begun.set()
            entered.wait(10)
        left.set()

    def second():
        begun.wait(10)
        with one_thread():
            entered.set()
            left.wait(10)
            seen.append(torch.get_num_threads())

    try:
        torch.set_num_threads(3)
        both = [threading.Thread(target=each) for each in (first, second)]
        for each in both:
            each.start()
        for each in both:
            each.join()
        assert seen == [1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
