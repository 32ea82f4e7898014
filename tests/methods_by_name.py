"""Learners of a module by the flat settings of a configuration."""

from types import SimpleNamespace
from typing import Any

from spikelore.continual.methods import MemorySettings
from spikelore.experiments.learner_settings import LearnerSettings
from spikelore.networks.gradient_learning import GradientLearning

LEARNING = ("learning_rate", "averaging", "readout", "input")


def wrapped(module: Any, classes: Any, input_shape: Any, learning: GradientLearning) -> Any:
    """Return a differentiable network of a module."""
    return SimpleNamespace(
        name="module", module=module, classes=classes, input_shape=input_shape, learning=learning, learn_=None
    )


def settings_of(method: str, **values: Any) -> LearnerSettings:
    """Return settings of a method, and of the values those that it uses."""
    used = (*LearnerSettings(method).used, *LEARNING)
    return LearnerSettings(method, **{name: value for name, value in values.items() if name in used})


def create(network: Any, settings: LearnerSettings, memory: MemorySettings, classes, shape, seed: int, tasks: int = 1):
    """Return a learner; what GDumb does not use of its network's learning may be set."""
    unused = {name: getattr(settings, name) for name in LEARNING if name not in settings.used}
    kind = LearnerSettings(settings.method)
    told = LearnerSettings(**{**vars(settings), **{name: getattr(kind, name) for name in unused}})
    method, learning = told.split(memory if "memory" in told.kind.__dataclass_fields__ else MemorySettings())
    learning = GradientLearning(**{**vars(learning), **unused})
    return method.start(wrapped(network, classes, shape, learning), seed=seed, tasks=tasks)
