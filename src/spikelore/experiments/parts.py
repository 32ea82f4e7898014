"""Parts of a run: what learns by itself does so in a folder of its own under ``parts``, beside the others."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spikelore.experiments.parallel import Cell, cores
from spikelore.experiments.run_folder import RunFolder, read_metrics
from spikelore.experiments.stages import Stage, Stages
from spikelore.experiments.typed import plain
from spikelore.files import write_bytes_atomic
from spikelore.progress import shown
from spikelore.report.runs import read_results

_SAVE_SECONDS = 5.0


def part(folder: RunFolder, name: str) -> Path:
    """Return the folder of a part."""
    return folder.path / "parts" / name


def left(
    config: Any, folder: RunFolder, learn: Callable[..., Any], wanted: Mapping[str, tuple], data_dir: Path | None
) -> dict[str, Cell]:
    """Return the cells of those parts that have not ended.

    Args:
        config: of the run.
        folder: the run's.
        learn: a function of a module that learns a part: of the configuration, what is wanted, the folder of datasets
            and the part's folder.
        wanted: of each part by its name.
        data_dir: folder of datasets.
    """
    return {
        name: Cell(learn, (config, *what, data_dir), part(folder, name), config.execution.cores)
        for name, what in wanted.items()
        if not (part(folder, name) / "results.json").exists()
    }


def learn(
    config: Any, out: Path, told: Mapping[str, Any],
    made: Callable[[RunFolder], tuple[float, Sequence[Callable[[], Stage]]]], apart: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Go through what is left of a part's stages; its results are its seconds.

    Args:
        config: of the run.
        out: the part's folder.
        told: what says which part it is, beside the configuration.
        made: returns the work of all stages, and what makes each of them.
        apart: names in the configuration that decide nothing of the part.
    """
    own = {name: value for name, value in plain(config).items() if name not in (*apart, "execution")}
    with RunFolder(out, {**told, **own}, resume=True, loggers=config.execution.loggers) as folder:
        work, every = made(folder)
        stages = Stages(folder, every_s=_SAVE_SECONDS)
        with shown(work, stages.done) as meter:
            stages.run(every, meter.advance)
        results = {"seconds": round(stages.seconds, 1)}
        folder.write_results(results)
    return results


def metrics(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    """Return a part's lines of metrics."""
    return read_metrics(part(folder, name))


def keep_checkpoints(folder: RunFolder, name: str) -> None:
    """Copy the networks that a part has left into the run's own checkpoints."""
    for path in sorted((part(folder, name) / "checkpoints").glob("*.safetensors")):
        if path.stem != "state":
            write_bytes_atomic(folder.path / "checkpoints" / path.name, path.read_bytes())


def seconds(folder: RunFolder, names: Sequence[str]) -> float:
    """Return about how long parts take side by side."""
    every = [read_results(part(folder, name))["seconds"] for name in names]
    return round(sum(every) / min(cores(), len(every)), 1)
