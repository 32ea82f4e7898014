"""Train a Norse model with Spikelore's losses: a thin module repeats the image."""

import norse.torch as norse
import numpy as np
import torch
from torch import nn

from spikelore.data import load
from spikelore.learning.surrogate_gradient import adam, epoch_, predict

STEPS = 20


def build() -> norse.SequentialState:
    """784 - 100 - 10 LIF neurons over time: (T,B,784) in, (T,B,10) spikes and the last state out."""
    neurons = norse.LIFParameters(v_th=torch.as_tensor(0.3))
    return norse.SequentialState(nn.Linear(784, 100), norse.LIF(neurons), nn.Linear(100, 10), norse.LIF(neurons))


class OverTime(nn.Module):
    """The same image at every step, from neurons at rest; the last state is dropped."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        spikes, _ = self.model(images.flatten(1).expand(STEPS, len(images), -1))
        return spikes


def main() -> None:
    torch.manual_seed(0)
    digits = load("digits-sample").train
    order = np.random.default_rng(0).permutation(len(digits))
    images = torch.from_numpy(digits.inputs[order]).float() / 255
    labels = torch.from_numpy(digits.labels[order])
    network = OverTime(build())
    optimiser = adam(network.parameters(), 2e-3)
    epoch_(network, images[:3200], labels[:3200], optimiser, batch=32)
    right = predict(network, images[3200:]) == labels[3200:]
    print(f"Norse model: {100 * right.float().mean():.1f} % of {len(right)} digits it did not see")


if __name__ == "__main__":
    main()
