"""Continual learners by name.

Importing this package imports no torch; `create` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spikelore.continual.methods.settings import (
    FAULTS,
    METHODS,
    Augmentation,
    Fault,
    LearnerSettings,
    MemorySettings,
    Method,
)

if TYPE_CHECKING:
    from spikelore.continual.methods.base import Learner

__all__ = [
    "FAULTS",
    "METHODS",
    "Augmentation",
    "Fault",
    "LearnerSettings",
    "MemorySettings",
    "Method",
    "create",
]

_WHERE: dict[Method, tuple[str, str]] = {
    "naive": ("base", "Learner"),
    "joint": ("base", "Learner"),
    "experience replay": ("replay", "ExperienceReplay"),
    "published replay": ("published", "PublishedReplay"),
    "gdumb": ("replay", "GDumb"),
    "der++": ("der", "DarkExperienceReplay"),
    "latent replay": ("latent", "LatentReplay"),
    "ewc": ("regularisation", "ElasticWeightConsolidation"),
    "lwf": ("regularisation", "LearningWithoutForgetting"),
}


def create(
    network: Any,
    settings: LearnerSettings,
    memory: MemorySettings,
    classes: tuple[int, ...],
    image_shape: tuple[int, int],
    seed: int,
    tasks: int = 1,
) -> "Learner":
    """Return the learner of ``settings.method``; see `spikelore.continual.methods.base.Learner` for the arguments."""
    module, name = _WHERE[settings.method]
    learner = getattr(import_module(f"{__name__}.{module}"), name)
    return learner(network, settings, memory, classes, image_shape, seed, tasks)
