"""Spiking neural networks that keep what they learn.

What a script needs is here by name and loaded when it is first used: ``import spikelore as sl`` loads neither torch nor
Numba. Three kinds of parts and their product::

    stream = sl.split_stream("digits-sample", [(0, 1), (2, 3), (4, 5)])
    network = sl.RateLIFNetwork.for_stream(stream, seed=0)
    result = sl.run(stream, network, sl.Naive(), seed=0)
    print(sl.table([result]))

See `spikelore.networks.protocol` for networks of one's own, `spikelore.continual.method` for methods.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Torch's threads, which kernels use too, wait awake for milliseconds for each other and the next operation, on cores
# that others may need; a small part is as good (docs/decisions/torch.md). It is read when torch is loaded.
if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

if TYPE_CHECKING:
    from spikelore.continual.method import Method as Method
    from spikelore.continual.method import why_not as why_not
    from spikelore.continual.methods import DarkReplay as DarkReplay
    from spikelore.continual.methods import ElasticWeightConsolidation as ElasticWeightConsolidation
    from spikelore.continual.methods import GDumb as GDumb
    from spikelore.continual.methods import GradientReplay as GradientReplay
    from spikelore.continual.methods import HebbianProjection as HebbianProjection
    from spikelore.continual.methods import Joint as Joint
    from spikelore.continual.methods import LatentReplay as LatentReplay
    from spikelore.continual.methods import LearningWithoutForgetting as LearningWithoutForgetting
    from spikelore.continual.methods import MemorySettings as Memory  # noqa: F401
    from spikelore.continual.methods import Naive as Naive
    from spikelore.continual.methods import NearestPrototype as NearestPrototype
    from spikelore.continual.methods import NearestSubspace as NearestSubspace
    from spikelore.continual.methods import PublishedReplay as PublishedReplay
    from spikelore.continual.methods import Replay as Replay
    from spikelore.continual.methods import SleepReplay as SleepReplay
    from spikelore.continual.methods import StreamingDiscriminant as StreamingDiscriminant
    from spikelore.continual.methods import SynapticIntelligence as SynapticIntelligence
    from spikelore.continual.methods.around import DecayOnce as DecayOnce
    from spikelore.continual.methods.around import Fusion as Fusion
    from spikelore.continual.methods.around import FusionThenReplay as FusionThenReplay
    from spikelore.continual.methods.around import OnlineDecay as OnlineDecay
    from spikelore.continual.methods.around import Protection as Protection
    from spikelore.continual.methods.around import Pruning as Pruning
    from spikelore.continual.methods.around import WeightDecay as WeightDecay
    from spikelore.continual.methods.local_ways import FrozenWeights as FrozenWeights
    from spikelore.continual.methods.local_ways import LangevinBounds as LangevinBounds
    from spikelore.continual.methods.local_ways import PseudoRehearsal as PseudoRehearsal
    from spikelore.continual.methods.local_ways import RateNoise as RateNoise
    from spikelore.continual.run import Callback as Callback
    from spikelore.continual.run import ContinualRun as ContinualRun
    from spikelore.continual.run import Result as Result
    from spikelore.continual.run import StoppedError as StoppedError
    from spikelore.continual.run import run as run
    from spikelore.continual.run import table as table
    from spikelore.data import load as load_data  # noqa: F401
    from spikelore.data.events import Events as Events
    from spikelore.data.examples import Examples as Examples
    from spikelore.data.streams import Stream as Stream
    from spikelore.data.streams import Task as Task
    from spikelore.data.streams import group_stream as group_stream
    from spikelore.data.streams import leave_out as leave_out
    from spikelore.data.streams import split_stream as split_stream
    from spikelore.errors import InputError as InputError
    from spikelore.errors import SpikeloreError as SpikeloreError
    from spikelore.metrics.learning_cost import Energies as Energies
    from spikelore.metrics.learning_cost import Work as Work
    from spikelore.networks.checkpoint import load as load
    from spikelore.networks.first_spike import FirstSpikeNetwork as FirstSpikeNetwork
    from spikelore.networks.gradient_learning import Augmentation as Augmentation
    from spikelore.networks.gradient_learning import GradientLearning as GradientLearning
    from spikelore.networks.gradient_learning import RecordingAugmentation as RecordingAugmentation
    from spikelore.networks.nir_format import export_nir as export_nir
    from spikelore.networks.nir_format import import_nir as import_nir
    from spikelore.networks.protocol import Cost as Cost
    from spikelore.networks.protocol import Network as Network
    from spikelore.networks.rate_lif import RateLIFNetwork as RateLIFNetwork
    from spikelore.networks.recurrent import RecurrentNetwork as RecurrentNetwork
    from spikelore.networks.surrogate import SurrogateNetwork as SurrogateNetwork
    from spikelore.networks.surrogate_events import SurrogateEventNetwork as SurrogateEventNetwork
    from spikelore.networks.wrapped import TorchNetwork as TorchNetwork

    __version__: str

_WHERE = {
    "continual.method": "Method why_not",
    "continual.methods": "DarkReplay ElasticWeightConsolidation GDumb GradientReplay HebbianProjection "
    "Joint LatentReplay LearningWithoutForgetting Naive NearestPrototype NearestSubspace PublishedReplay Replay "
    "SleepReplay StreamingDiscriminant SynapticIntelligence",
    "continual.methods.around": "DecayOnce Fusion FusionThenReplay OnlineDecay Protection Pruning WeightDecay",
    "continual.methods.local_ways": "FrozenWeights LangevinBounds PseudoRehearsal RateNoise",
    "continual.run": "Callback ContinualRun Result StoppedError run table",
    "data.events": "Events",
    "data.examples": "Examples",
    "data.streams": "Stream Task group_stream leave_out split_stream",
    "errors": "InputError SpikeloreError",
    "metrics.learning_cost": "Energies Work",
    "networks.checkpoint": "load",
    "networks.first_spike": "FirstSpikeNetwork",
    "networks.gradient_learning": "Augmentation GradientLearning RecordingAugmentation",
    "networks.nir_format": "export_nir import_nir",
    "networks.protocol": "Cost Network",
    "networks.rate_lif": "RateLIFNetwork",
    "networks.recurrent": "RecurrentNetwork",
    "networks.surrogate": "SurrogateNetwork",
    "networks.surrogate_events": "SurrogateEventNetwork",
    "networks.wrapped": "TorchNetwork",
}
_OTHER_NAMES = {"Memory": ("continual.methods", "MemorySettings"), "load_data": ("data", "load")}
_PUBLIC = {name: (module, name) for module, names in _WHERE.items() for name in names.split()} | _OTHER_NAMES

__all__ = ["__version__", *_PUBLIC]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, inner = _PUBLIC[name]
    found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), inner)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """Return the version that is installed; of a copy that is not, that of the project file beside it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("spikelore")
    except PackageNotFoundError:
        import tomllib
        from pathlib import Path

        project = Path(__file__).parents[2] / "pyproject.toml"
        if not project.is_file():
            return "unknown"
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
