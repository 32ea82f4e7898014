"""Train a snnTorch model with Spikelore's losses, unchanged: its forward returns spikes over time."""

import numpy as np
import snntorch
import torch
from snntorch import surrogate
from torch import nn

from spikelore.data import load
from spikelore.learning.surrogate_gradient import adam, epoch_, predict

STEPS = 10


class Model(nn.Module):
    """784 - 100 - 10 Leaky neurons; pixels are currents."""

    def __init__(self) -> None:
        super().__init__()
        slope = surrogate.fast_sigmoid(slope=25)
        self.hidden, self.output = nn.Linear(784, 100), nn.Linear(100, 10)
        self.hidden_neurons = snntorch.Leaky(beta=0.9, spike_grad=slope)
        self.output_neurons = snntorch.Leaky(beta=0.9, spike_grad=slope)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden_state, output_state = self.hidden_neurons.reset_mem(), self.output_neurons.reset_mem()
        spikes_over_time = []
        for _ in range(STEPS):
            spikes, hidden_state = self.hidden_neurons(self.hidden(images.flatten(1)), hidden_state)
            spikes, output_state = self.output_neurons(self.output(spikes), output_state)
            spikes_over_time.append(spikes)
        return torch.stack(spikes_over_time)  # (T,B,classes)


def main() -> None:
    torch.manual_seed(0)
    digits = load("digits-sample").train
    order = np.random.default_rng(0).permutation(len(digits))
    images = torch.from_numpy(digits.inputs[order]).float() / 255
    labels = torch.from_numpy(digits.labels[order])
    model = Model()
    optimiser = adam(model.parameters(), 2e-3)
    epoch_(model, images[:3200], labels[:3200], optimiser, batch=32)
    right = predict(model, images[3200:]) == labels[3200:]
    print(f"snnTorch model: {100 * right.float().mean():.1f} % of {len(right)} digits it did not see")


if __name__ == "__main__":
    main()
