"""Sleep-like replay: after a task the network dreams of noise, and its synapses learn from who spikes then."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikelore.continual.methods.gradient import GradientLearner
from spikelore.files import arrays_under
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.devices import array_of
from spikelore.networks.foreign import put_
from spikelore.networks.protocol import DenseModule
from spikelore.networks.readout import as_input, check_images
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels

_SOFT = 1e-3
"""Width of the range around 0 in which weights stop moving as they grow."""
_Floats = NDArray[np.float32]


def openness(weights: _Floats) -> _Floats:
    """Return by how much weights move, 2 / (1 + exp(w / .001)): 2 where they are below 0, nothing where above."""
    return (2 / (1 + np.exp(np.clip(weights / _SOFT, -80, 80)))).astype(np.float32, copy=False)


def noise(mean: NDArray[np.float64], count: int, patch: int, steps: int, rng: np.random.Generator) -> _Floats:
    """Return Poisson noise under a window: (T,B,H,W) spikes, drawn at each step with the pixels as probabilities.

    Args:
        mean: (H,W) 0..1, the mean image of all that was seen.
        count: B, images of noise.
        patch: side of the square, at a random place of each image, outside of which there is none.
        steps: T.
        rng: generator.
    """
    rows, columns = mean.shape
    sides = min(patch, rows), min(patch, columns)
    top = rng.integers(0, rows - sides[0] + 1, count)[:, None, None]
    left = rng.integers(0, columns - sides[1] + 1, count)[:, None, None]
    down, across = np.arange(rows)[:, None], np.arange(columns)
    shown = (down >= top) & (down < top + sides[0]) & (across >= left) & (across < left + sides[1])
    return (rng.random((steps, count, rows, columns)) < mean * shown).astype(np.float32)


def sleep_(
    layers: list[tuple[_Floats, _Floats]],
    spikes: _Floats,
    neuron: Leaky,
    *,
    gain: float,
    potentiation: float,
    depression: float,
) -> None:
    """Let spikes run through fully connected layers, whose weights learn from them step by step.

    Each image of noise begins at rest. With the weights W of a layer, spikes s that enter it and S that leave it, and
    its neurons those of `spikelore.kernels.lif_scan`::

        I = gain W s + bias
        W[i,j] += potentiation h(W[i,j])   where S[i] = 1 and s[j] = 1
        W[i,j] -= depression   h(W[i,j])   where S[i] = 1 and s[j] = 0

    with h as `openness` says. What a layer gives in a step enters the next one in the same step.

    Args:
        layers: weights (F,D) float32, which are changed, and biases (F,) of each layer.
        spikes: (T,B,D) float32 that enter the first.
        neuron: constants of the neurons.
        gain: factor of the currents.
        potentiation: of synapses by which a spike came.
        depression: of those by which none came.
    """
    threshold = np.float32(neuron.threshold)
    for image in range(spikes.shape[1]):
        potentials = [np.zeros(len(bias), np.float32) for _, bias in layers]
        spiked = [np.zeros(len(bias), np.bool_) for _, bias in layers]
        for entering in spikes[:, image] != 0:
            for n, (weights, bias) in enumerate(layers):
                rest = neuron.beta * potentials[n]
                rest = rest - threshold * spiked[n] if neuron.reset == "subtract" else rest * ~spiked[n]
                current = weights @ entering.astype(np.float32)
                potentials[n] = (rest + gain * current + bias).astype(np.float32, copy=False)
                spiked[n] = potentials[n] > threshold
                rows: _Floats = weights[spiked[n]]
                change: _Floats = np.where(entering, potentiation, -depression).astype(np.float32)
                weights[spiked[n]] = rows + change * openness(rows)
                entering = spiked[n]


class SleepReplayLearner(GradientLearner):
    """After each task it sleeps: `noise` from the mean of all images seen drives it, and `sleep_` changes its weights.

    Only fully connected layers learn in sleep, the output neurons among them; convolutions pass the noise on. With
    averaged weights, it is these that go to sleep, and the mean begins anew from what they wake as.

    Kept is the sum of all images, and how many they were.

    Source: sleep replay consolidation, Tadros et al. 2022 (doi 10.1038/s41467-022-34938-7), and for the factor h and
    the window the authors' code. Deviations: theirs is a network without biases that learns as rectifiers and is made
    spiking for the night, with thresholds and gains of each layer searched for; here the network spikes by day too, so
    that its neurons are the same at night but for one gain. Each image of noise begins at rest, as images do.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pixels = np.zeros(self.input_shape)
        self.count = np.zeros(1)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the sum of images and their number."""
        return self.pixels.nbytes + self.count.nbytes

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Add the images up."""
        del labels, columns, task
        check_images(images, self.input_shape)
        self.pixels += as_input(images, self.learning.input).sum(0, dtype=torch.float64).numpy()
        self.count += len(images)

    def end_task(self, task: int) -> None:
        """Sleep."""
        put_(self.module, self.averaged)
        self.averaged, self.steps = {}, 0
        self._sleep(generator(self.seed, "learner", "sleep", task))

    @torch.no_grad()
    def _sleep(self, rng: np.random.Generator) -> None:
        assert isinstance(self.module, DenseModule)
        method, network = self.method, self.module
        steps = network.config.steps
        mean = self.pixels / np.maximum(self.count, 1)
        dreams = noise(mean, method.sleep_images, method.patch, steps, rng)
        entering = array_of(network.dense_inputs(torch.from_numpy(dreams)[:, :, None].to(self.device)).contiguous())
        levels = network.dense_layers()
        layers = [
            (array_of(torch.cat([one.weight for one in level])), array_of(torch.cat([one.bias for one in level])))
            for level in levels
        ]
        sleep_(
            layers, entering, network.config.neuron,
            gain=method.gain, potentiation=method.potentiation, depression=method.depression,
        )  # fmt: skip
        for level, (weights, _) in zip(levels, layers, strict=True):
            parts = torch.from_numpy(weights).split([one.out_features for one in level])
            for one, part in zip(level, parts, strict=True):
                one.weight.copy_(part)

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the sum of images and their number."""
        return {"seen/pixels": self.pixels, "seen/count": self.count}

    def take_over(self, arrays: Any, facts: Any) -> None:
        """Take over these beside the rest."""
        super().take_over(arrays, facts)
        seen = arrays_under("seen", arrays)
        self.pixels, self.count = seen["pixels"].copy(), seen["count"].copy()
