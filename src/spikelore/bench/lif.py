"""Speed of the rate-coded LIF network, with its results checked in the same run."""

from functools import partial
from typing import Any

import numpy as np

from spikelore.bench.digits import digits_for_kernels
from spikelore.bench.rounds import best_of_rounds
from spikelore.errors import SpikeloreError
from spikelore.experiments.run_folder import versions
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork

_CLASSES = (7, 4, 6)
_CHECKED = 2


def _check(network: RateLIFNetwork, images: np.ndarray, labels: np.ndarray) -> None:
    """Let the reference kernel do the same from the same state: equal spikes, equal weights."""
    fast, readable = (RateLIFNetwork(network.config, seed=0, backend=name) for name in ("numba_cpu", "reference"))
    for each in (fast, readable):
        each.load_state_dict(network.state_dict())
    learned = [each.train(images, labels) for each in (fast, readable)]
    tested = [each.count_spikes(images) for each in (fast, readable)]
    equal = all(np.array_equal(a, b) and a.any() for a, b in (learned, tested))
    if not equal or not np.allclose(fast.weights, readable.weights, rtol=0, atol=1e-12):
        raise SpikeloreError(
            "bench: spikes or weights of the fast kernel differ from the reference; its speed does not count"
        )


def lif(images: int, seed: int) -> dict[str, Any]:
    """Measure training and testing of both presets on the digits 7, 4 and 6 that a dependency ships.

    Args:
        images: images a measurement, at least 16.
        seed: of the networks.

    Raises:
        InputError: too few images, or Numba must not compile.
        SpikeloreError: the fast kernel's spikes or weights are not those of the reference.
    """
    sample = digits_for_kernels(images, seed, _CLASSES)
    rows = []
    for preset, config in (("published", RateLIFConfig.published(_CLASSES)), ("best", RateLIFConfig.best(_CLASSES))):
        network = RateLIFNetwork(config, seed=seed)
        actions = {
            "training": partial(network.train, sample.inputs, sample.labels),
            "testing": partial(network.count_spikes, sample.inputs),
        }
        spent = {work: 1000 * best_of_rounds(action) / len(sample) for work, action in actions.items()}
        _check(network, sample.inputs[:_CHECKED], sample.labels[:_CHECKED])
        rows += [{"preset": preset, "work": work, "ms_per_image": round(ms, 4)} for work, ms in spent.items()]
    return {
        "bench": "lif",
        "images": len(sample),
        "checked": "spikes equal the reference's, weights to 1e-12",
        "versions": versions(),
        "rows": rows,
    }
