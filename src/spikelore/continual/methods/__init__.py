"""Continual learners: each method as a dataclass of its own settings, `Method.start` of which gives its learner.

Importing this package imports no torch; starting a method does.
"""

from spikelore.continual.methods.settings import (
    FAULTS,
    METHODS,
    DarkReplay,
    ElasticWeightConsolidation,
    Fault,
    GDumb,
    GradientReplay,
    HebbianProjection,
    Joint,
    LatentReplay,
    LearningWithoutForgetting,
    MemorySettings,
    Naive,
    NearestPrototype,
    NearestSubspace,
    PublishedReplay,
    Replay,
    SleepReplay,
    StreamingDiscriminant,
    SynapticIntelligence,
)

__all__ = [
    "FAULTS",
    "METHODS",
    "DarkReplay",
    "ElasticWeightConsolidation",
    "Fault",
    "GDumb",
    "GradientReplay",
    "HebbianProjection",
    "Joint",
    "LatentReplay",
    "LearningWithoutForgetting",
    "MemorySettings",
    "Naive",
    "NearestPrototype",
    "NearestSubspace",
    "PublishedReplay",
    "Replay",
    "SleepReplay",
    "StreamingDiscriminant",
    "SynapticIntelligence",
]
