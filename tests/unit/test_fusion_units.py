"""Units that are asked once and by name decide as their network does, and what a fusion's processes load is all."""

import subprocess
import sys

import numpy as np
import pytest

from spikelore.continual.fusion import SCORES, bagging, fuse, scaled
from spikelore.continual.importance import top_fraction
from spikelore.experiments.reproduce import fusion
from spikelore.experiments.reproduce.fusion import Scales, Scored, Units, digested
from spikelore.kernels.reward_stdp import SpikeLists
from spikelore.learning.first_spike_training import FeatureExamples
from spikelore.networks.first_spike import DecisionLayerConfig, FirstSpikeConfig, FirstSpikeNetwork


@pytest.fixture(scope="module")
def examples() -> tuple[FeatureExamples, list[FirstSpikeNetwork]]:
    """Random spikes of a hundred images, and two networks of random units."""
    config, rng, networks = FirstSpikeConfig(decision=DecisionLayerConfig(features=10)), np.random.default_rng(0), []
    for classes in ((0, 1), (2, 3)):
        network = FirstSpikeNetwork.create(config, classes, 0)
        weights = rng.normal(0.5, 0.2, network.unit_weights.shape).astype(np.float32)
        networks.append(network.with_units(weights, network.unit_classes))
    spikes = SpikeLists.from_spikes(rng.random((100, config.layer_2.features, 4, 4)) < 0.3)
    return FeatureExamples(spikes, rng.integers(0, 4, 100)), networks


@pytest.mark.parametrize("score", SCORES)
def test_units_by_another_score_decide_as_the_scaled_network(score, examples):
    seen, networks = examples
    scored, scales = Scored(seen), Scales(score)
    kept = [top_fraction(each.unit_weights) for each in networks]
    for joined in (bagging(networks), *(fuse(networks, importances=kept, size=size) for size in (8, 12))):
        network = scaled(joined, score)
        units = Units.of(joined, scales, digested(joined))
        np.testing.assert_array_equal(units.gains, network.unit_gains)
        np.testing.assert_array_equal(units.centres, network.unit_centres)
        np.testing.assert_array_equal(units.competing(range(len(units.names))), network.competing_weights())
        winners = network.winners(seen.features)
        np.testing.assert_array_equal(scored.winners(units), winners)
        np.testing.assert_array_equal(scored.winners(Units.of(network)), winners)
        np.testing.assert_array_equal(scored.decisions(units), network.decide(seen.features))
        assert scored.outcome(units) == seen.outcome(network)
        assert len(np.unique(winners)) > 2
    assert len(scales.known) == len(scored.fits) == 20  # each unit once


def test_no_unit_is_asked_twice(examples, monkeypatch):
    seen, networks = examples
    scored, asked = Scored(seen), []
    potentials = fusion.feature_potentials
    monkeypatch.setattr(
        fusion, "feature_potentials", lambda *given, **how: asked.append(len(given[1])) or potentials(*given, **how)
    )
    for network in (networks[0], bagging(networks), networks[1]):
        scored.winners(Units.of(scaled(network, "raw")))
    assert asked == [10, 10]


@pytest.mark.parametrize("score", SCORES)
def test_whether_correlations_compete_is_told_by_every_unit(score, examples):
    _, networks = examples
    network = scaled(networks[0], score)
    assert network.templates == (score == "correlation")
    gains = network.unit_gains.copy()
    gains[-1] += 1
    assert not network.with_units(network.unit_weights, network.unit_classes, gains, network.unit_centres).templates


_LEARNS = """
import numpy as np
from spikelore.data import Examples
from spikelore.experiments.reproduce import fusion
from spikelore.kernels.reward_stdp import known_potentials, numba_cpu, vector
from spikelore.kernels.template_stdp import numba_cpu as templates
from spikelore.learning.first_spike_training import DecisionTraining, FeatureExamples, consolidation
from spikelore.networks.first_spike import DecisionLayerConfig, FirstSpikeConfig, FirstSpikeNetwork

def loaded():
    every = {id(one): one for module in (known_potentials, numba_cpu, templates) for one in vars(module).values()}
    every = [one if hasattr(one, "overloads") else getattr(one, "__wrapped__", one) for one in every.values()]
    return {one.py_func.__name__: len(one.overloads) for one in every if hasattr(one, "overloads") and one.overloads}

fusion.prepare()
before = loaded()
network = FirstSpikeNetwork.create(FirstSpikeConfig(decision=DecisionLayerConfig(features=10)), (0, 1), 0)
images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
few = FeatureExamples.of(network, Examples(images, np.resize([0, 1], 40)))
consolidation(DecisionTraining(network, few, 3, asked={"validation": few}).finish(), few).finish()
print(*before, before == loaded())
"""


def test_after_preparing_a_process_has_all_code_that_learns_decisions():
    done = subprocess.run([sys.executable, "-c", _LEARNS], capture_output=True, text=True, timeout=300)
    *names, same = done.stdout.split()
    assert {"_walk", "_block_potentials", "_decide", "_raise", "_drift", "_move"} <= {*names}, done.stderr
    assert same == "True"
