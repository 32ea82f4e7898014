"""Experiments as YAML: which kinds there are, reading one with overrides, and running it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spikelore import plain_yaml
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import run_folder, typed
from spikelore.experiments.parallel import Cell, Early, failure, run_cells
from spikelore.experiments.reproduce import PUBLISHED, decay, fusion, keywords, local, replay, study
from spikelore.experiments.run_folder import RunFolder
from spikelore.report.tidy import tidy, write_table

Round = Callable[[Any, RunFolder, Path | None], Mapping[str, Cell]]
"""Returns the parts of a run that are left to do, by name."""


@dataclass(frozen=True)
class Kind:
    """One kind of experiment: its configuration and what runs it.

    Attributes:
        config: class of the configuration.
        rounds: each returns independent parts of a run in its folder that are left to do, by name, which are run side
            by side before the next round is asked.
        run: gathers into the run's folder what its parts gave, and returns the results.
        check: looks at the data of one, as the run will read it, and refuses what the run would refuse.
        start: returns one to start from.
        at_scale: returns one at a scale, ``quick`` or ``paper``; its other parameters but the seed are those of its
            command, see `spikelore.experiments.reproduce.PUBLISHED`.
        evaluate: measures a finished run's networks on a dataset (its own where none is named), on images of the
            given classes (all where none is given), and returns rows; for kinds whose networks need the run's
            configuration to decide.
        lengthens: whether a run of the first configuration can go on with the second; for kinds whose runs can.
        with_failures: whether parts that failed are rows among others, and the results are written none the less.
        later: how many parts of a run follow a first one that is alone.
        prepare: what their processes do while that one still goes on, see `spikelore.experiments.parallel.Early`.
    """

    config: type
    rounds: tuple[Round, ...]
    run: Callable[[Any, RunFolder, Path | None], dict[str, Any]]
    check: Callable[[Any, Path | None], None]
    start: Callable[[], Any]
    at_scale: Callable[..., Any]
    evaluate: Callable[[Any, Path, str | None, Path | None, Sequence[int]], list[dict[str, Any]]] | None = field(
        default=None, kw_only=True
    )
    lengthens: Callable[[Any, Any], bool] | None = field(default=None, kw_only=True)
    with_failures: bool = field(default=False, kw_only=True)
    later: Callable[[Any], int] = field(default=lambda config: 0, kw_only=True)
    prepare: Callable[[], object] | None = field(default=None, kw_only=True)


KINDS: dict[str, Kind] = {
    "fusion": Kind(
        fusion.FusionExperiment,
        (fusion.features, fusion.first_decisions, fusion.further_decisions),
        fusion.run,
        fusion.check,
        fusion.FusionExperiment,
        fusion.at_scale,
        later=lambda config: len(config.sources),
        prepare=fusion.prepare,
    ),
    "decay": Kind(
        decay.DecayExperiment,
        (decay.trainings,),
        decay.run,
        decay.check,
        decay.DecayExperiment,
        decay.at_scale,
    ),
    "replay": Kind(
        replay.ReplayExperiment,
        (replay.parts,),
        replay.run,
        replay.check,
        replay.best,
        replay.at_scale,
        evaluate=replay.evaluate,
        lengthens=replay.lengthens,
    ),
    "local": Kind(
        local.LocalExperiment,
        (local.begins, local.ways),
        local.run,
        local.check,
        local.LocalExperiment,
        local.at_scale,
    ),
    "keywords": Kind(
        keywords.KeywordsExperiment,
        (keywords.parts,),
        keywords.run,
        keywords.check,
        keywords.KeywordsExperiment,
        keywords.at_scale,
        with_failures=True,
    ),
    "study": Kind(
        study.StudyExperiment,
        (study.parts,),
        study.run,
        study.check,
        study.StudyExperiment,
        study.at_scale,
        with_failures=True,
    ),
}
"""The value of ``experiment:`` in a YAML file, to what it means."""


def kind_of(config: Any) -> str:
    """Return the name of a configuration's kind."""
    return next(name for name, kind in KINDS.items() if isinstance(config, kind.config))


def read(path: Path, overrides: Sequence[str] = ()) -> Any:
    """Return the configuration in a YAML file, with command-line overrides such as ``--seed 3``.

    Raises:
        InputError: no such file, not YAML, an unknown experiment, an unknown key, a value of another type.
    """
    raw = plain_yaml.read(path)
    if not isinstance(raw, dict):
        found = "is empty" if raw is None else "holds no names with values"
        raise InputError(f"{path} {found}, expected an experiment's configuration; name another file")
    if "experiment" not in raw and path.absolute().parent.parent.name == "parts":
        part = path.absolute().parent
        raise InputError(f"{part} is a part of a run, expected the run's folder; name {part.parent.parent}")
    if raw.get("experiment") not in [*KINDS]:
        raise InputError(
            f"{path}: experiment is {raw.get('experiment')!r}; the first line must be 'experiment: NAME' with one of "
            f"{', '.join(KINDS)}"
        )
    return build(raw["experiment"], raw, overrides)


def build(kind: str, values: Mapping[str, Any], overrides: Sequence[str] = ()) -> Any:
    """Return the configuration of ``kind`` from nested plain values and overrides; strict about keys."""
    config = KINDS[kind].config
    own = {key: value for key, value in values.items() if key != "experiment"}
    if any(word.partition("=")[0] == "--experiment" for word in overrides):
        raise InputError(f"--experiment is given beside a file of experiment {kind}, expected none; name another file")
    typed.check_values(config, own)
    made = typed.made(config, typed.merged(config, typed.nested(config, own), typed.overrides(config, overrides)))
    return on_device(made, made.execution.device)


def on_device(config: Any, device: str | None) -> Any:
    """Return the configuration with ``execution.device``, if one is given.

    Raises:
        InputError: its networks compute on the processor alone.
    """
    if device is None:
        return config
    kind = kind_of(config)
    if device != "cpu" and not PUBLISHED[kind].on_devices:
        raise InputError(
            f"the device is {device!r}, expected 'cpu' with the experiment {kind}, whose networks learn by local rules "
            "on the processor; leave it out"
        )
    return replace(config, execution=replace(config.execution, device=device))


def check(config: Any, data_dir: Path | None) -> None:
    """Look at all data of an experiment, and refuse what its run would refuse of it.

    Raises:
        InputError: no such dataset, or one that does not fit the configuration.
    """
    KINDS[kind_of(config)].check(config, data_dir)


def refuse_another(config: Any, folder: Path) -> None:
    """Refuse a folder that holds a run of another configuration; one without a run is as good as new.

    Raises:
        InputError: it does.
    """
    if (folder / "config.yaml").exists():
        run_folder.refuse_another(folder, {"experiment": kind_of(config), **typed.plain(config)})


def execute(
    config: Any, out: Path, data_dir: Path | None, *, resume: bool = False, jobs: int | None = None,
    ray: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run an experiment into a run folder and return its results; bad input leaves nothing behind.

    How far it is shows on stderr, see `spikelore.progress`.

    Args:
        config: the experiment.
        out: the run folder.
        data_dir: folder of datasets.
        resume: go on with an interrupted run.
        jobs: see `spikelore.experiments.parallel.run_cells`; of its independent parts.
        ray: likewise.
    """
    outcomes = run_all({out: config}, data_dir, resume=resume, jobs=jobs, ray=ray)
    if error := failure(outcomes):
        raise error
    return outcomes[out]


def run_all(
    experiments: Mapping[Path, Any], data_dir: Path | None, *, resume: bool, jobs: int | None = None,
    ray: str | None = None,
) -> dict[Path, Any]:  # fmt: skip
    """Run experiments by their folders, all of their parts side by side; return the results, or an error, of each."""
    outcomes: dict[Path, Any] = {}
    folders: dict[Path, RunFolder] = {}
    rounds = {out: KINDS[kind_of(config)].rounds for out, config in experiments.items()}
    with ExitStack() as stack:
        early = stack.enter_context(Early())
        for out, config in experiments.items():
            try:
                folders[out] = stack.enter_context(_opened(config, out, resume=resume))
            except SpikeloreError as error:
                outcomes[out] = error
        for number in range(max(map(len, rounds.values()), default=0)):
            asked: dict[Path, Mapping[str, Cell]] = {}
            for out, folder in folders.items():
                if out not in outcomes and number < len(rounds[out]):
                    try:
                        with folder.guarded():
                            asked[out] = rounds[out][number](experiments[out], folder, data_dir)
                    except SpikeloreError as error:
                        outcomes[out] = error
            cells = {each.folder: each for some in asked.values() for each in some.values()}
            if len(cells) == 1 and number == 0 and ray is None:
                for config in map(experiments.__getitem__, asked):
                    kind = KINDS[kind_of(config)]
                    if kind.prepare:
                        early.begin(kind.later(config), kind.prepare, largest=config.execution.cores, jobs=jobs)
            found = run_cells(cells, jobs=jobs, ray=ray, early=early)
            for out, some in asked.items():
                rows = {name: found[each.folder] for name, each in some.items()}
                if number == len(rounds[out]) - 1 or failure(rows):
                    outcomes[out] = _gathered(experiments[out], folders[out], data_dir, rows)
    return {out: outcomes[out] for out in experiments}


def _gathered(config: Any, folder: RunFolder, data_dir: Path | None, parts: Mapping[str, Any]) -> Any:
    """Return the results of a run whose parts have ended, or its error."""
    try:
        with folder.guarded():
            kind, error = KINDS[kind_of(config)], failure(parts)
            if error and not kind.with_failures:
                raise error
            results = kind.run(config, folder, data_dir)
            folder.write_results(results)
            write_table(folder.path / "table.parquet", tidy(results))
            if error:
                raise error
            return results
    except Exception as error:
        return error


def _opened(config: Any, out: Path, *, resume: bool) -> RunFolder:
    """Return the run folder of an experiment."""
    kind = kind_of(config)

    def lengthens(old: dict[str, Any], new: dict[str, Any]) -> bool:
        judge = KINDS[kind].lengthens
        if judge is None or old.get("experiment") != kind:
            return False
        try:
            before = build(kind, old)
        except InputError:  # written by another version
            return False
        return judge(before, build(kind, new))

    told = {"experiment": kind, **typed.plain(config)}
    return RunFolder(out, told, resume=resume, lengthens=lengthens)
