"""Train a SpikingJelly model with Spikelore's losses: a thin module repeats the image and resets its neurons."""

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from spikelore.data import load
from spikelore.learning.surrogate_gradient import adam, epoch_, predict

STEPS = 10


def build() -> nn.Sequential:
    """784 - 100 - 10 LIF neurons in SpikingJelly's multi-step mode: (T,B,...) in, (T,B,10) out."""

    def neurons() -> neuron.LIFNode:
        return neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan())

    model = nn.Sequential(layer.Flatten(), layer.Linear(784, 100), neurons(), layer.Linear(100, 10), neurons())
    functional.set_step_mode(model, "m")
    return model


class OverTime(nn.Module):
    """The same image at every step, from neurons at rest."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        functional.reset_net(self.model)
        return self.model(images.expand(STEPS, *images.shape))


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
    print(f"SpikingJelly model: {100 * right.float().mean():.1f} % of {len(right)} digits it did not see")


if __name__ == "__main__":
    main()
