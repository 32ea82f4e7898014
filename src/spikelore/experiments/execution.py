"""The section ``execution`` of a configuration: how a run is run, which decides nothing of its result but rounding."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

from spikelore.errors import InputError, check_fields
from spikelore.experiments import optional


@dataclass(frozen=True)
class Execution:
    """How a run is run; it may be another when the run goes on.

    Attributes:
        cores: that it takes beside other runs of a sweep; if not given its part of all there are, and on a cluster one.
        device: where networks that gradients teach compute, as torch names it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        loggers: that are told each line of metrics beside ``metrics.jsonl``: ``tensorboard`` writes into the folder
            ``tensorboard`` of the run's; ``mlflow`` follows its own MLFLOW_TRACKING_URI, else writes into ``mlruns``.
    """

    cores: int | None = None
    device: str = "cpu"
    loggers: tuple[Literal["tensorboard", "mlflow"], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, "execution.")
        if self.cores is not None and self.cores < 1:
            raise InputError(f"execution.cores is {self.cores}, expected at least 1; leave it out for all there are")


def place_(network: Any, device: str) -> None:
    """Move a network that gradients teach to a device as `Execution` names it; one of local rules stays where it is.

    Raises:
        InputError: torch sees no such device.
    """
    if device == "cpu":  # where every network is made, so that those without torch need not load it
        return
    from torch import nn

    from spikelore.networks.devices import device_named

    if isinstance(module := getattr(network, "module", None), nn.Module):
        module.to(device_named(device))


class Logger(Protocol):
    """Who is told a run's metrics."""

    def log(self, name: str, value: float, step: int) -> None:
        """Note a value."""
        ...

    def close(self) -> None:
        """Write what is not written yet."""
        ...


class _TensorBoard:
    def __init__(self, tensorboard: Any, folder: Path, config: Mapping[str, Any]) -> None:
        writer = tensorboard.SummaryWriter(str(folder / "tensorboard"))
        writer.add_text("config", f"```\n{json.dumps(config, indent=2)}\n```")
        self.log, self.close = writer.add_scalar, writer.close


class _MLflow:
    def __init__(self, mlflow: Any, folder: Path, config: Mapping[str, Any]) -> None:
        own = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").absolute().as_uri()
        self._client = mlflow.MlflowClient(own)
        found = self._client.get_experiment_by_name("spikelore")
        experiment = found.experiment_id if found else self._client.create_experiment("spikelore")
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        for name, value in config.items():
            self._client.log_param(self._run, name, json.dumps(value)[:500])

    def log(self, name: str, value: float, step: int) -> None:
        self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)


_LOGGERS: dict[str, tuple[Any, str]] = {
    "tensorboard": (_TensorBoard, "torch.utils.tensorboard"), "mlflow": (_MLflow, "mlflow"),
}  # fmt: skip


class Loggers:
    """All loggers of a run: each number of a line of metrics under its texts, such as ``decision/a/train``."""

    def __init__(self, names: Sequence[str], folder: Path, config: Mapping[str, Any]) -> None:
        """Find the packages; the loggers begin with the first line.

        Args:
            names: as `Execution.loggers`.
            folder: the run's.
            config: the run's, plain values.

        Raises:
            InputError: a logger's package is not there.
        """
        self._makers = [partial(_LOGGERS[name][0], _found(name), folder, config) for name in names]
        self._begun: list[Logger] = []
        self._lines: Counter[str] = Counter()

    def write(self, line: Mapping[str, Any]) -> None:
        """Tell the numbers of a line; its place among those with the same texts is the step."""
        if self._makers and not self._begun:
            self._begun = [make() for make in self._makers]
        texts = "/".join(value.replace(" ", "_") for value in line.values() if isinstance(value, str))
        for name, value in line.items():
            for logger in self._begun if isinstance(value, int | float) else ():
                logger.log(f"{texts}/{name}", value, self._lines[texts])
        self._lines[texts] += 1

    def close(self) -> None:
        """End."""
        while self._begun:
            self._begun.pop().close()


def _found(logger: str) -> ModuleType:
    found = optional.find(_LOGGERS[logger][1])
    if isinstance(found, str):
        raise InputError(
            f"execution.loggers has {logger}, but {found}; install it with: pip install 'spikelore[loggers]'"
        )
    return found[0]
