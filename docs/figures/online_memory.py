"""What a training step of a recurrent network takes of memory, by backpropagation and by eligibility traces.

Run from the repository: ``python docs/figures/online_memory.py``; a minute or two. A process a point: 700 units, layers
of 256 and 128, eight random recordings; the most that a step of so many bins takes beyond what is there before it, its
inputs and the compiled kernels among that. Prints megabytes and writes ``online_memory.svg``.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from spikelore.bench import memory
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.recurrent import RecurrentConfig, RecurrentNetwork
from spikelore.report import style

STEPS = (100, 300, 1000, 3000, 10_000)
WAYS = ("backpropagation", "e-prop")


def measured(way: str, steps: int) -> float:
    """Return what a step takes in this process, in megabytes."""
    config = RecurrentConfig(
        units=(700,), hidden=(256, 128), classes=10, steps=steps, bin_ms=10.0, tau_mem_ms=60.0, tau_syn_ms=20.0,
        gradient=way,
    )  # fmt: skip
    network = RecurrentNetwork(config, torch.Generator().manual_seed(0), learning=GradientLearning(readout="mean"))
    spikes = np.random.default_rng(0).random((steps, 8, 700), np.float32) < 0.03
    signal = torch.from_numpy(spikes.astype(np.float32)).transpose(0, 1)  # step after step, as `to_input` gives it
    labels = torch.arange(8)

    def step(of: torch.Tensor) -> None:
        logits = network(of).mean(0)
        torch.nn.functional.cross_entropy(logits, labels).backward()

    step(signal[:, :10])
    before = memory.held()
    return (memory.peak(lambda: step(signal)) - before) / 1e6


def main() -> None:
    """Measure each point in a process of its own and draw them."""
    if len(sys.argv) == 3:
        print(measured(sys.argv[1], int(sys.argv[2])))
        return
    with style.applied():
        figure, (panel,) = style.panels(1, 3.2)
        for index, way in enumerate(WAYS):
            run = [[sys.executable, __file__, way, str(steps)] for steps in STEPS]
            found = [float(subprocess.run(each, check=True, capture_output=True, text=True).stdout) for each in run]
            print(way, *(f"{steps}: {each:.1f} MB" for steps, each in zip(STEPS, found, strict=True)), sep="  ")
            panel.plot(STEPS, found, "o-", color=style.colour(index), label=way)
        panel.set(xlabel="steps of a recording", ylabel="megabytes of a training step", xscale="log", yscale="log")
        panel.legend(loc="upper left")
        Path(__file__).with_suffix(".svg").write_bytes(style.files(figure)["svg"])


if __name__ == "__main__":
    main()
