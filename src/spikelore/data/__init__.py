"""Datasets: reading IDX files, fetching with checksums, and balanced splits."""

from spikelore.data.download import fetch
from spikelore.data.idx import read_idx, write_idx
from spikelore.data.registry import (
    CheckResult,
    Dataset,
    DatasetInfo,
    LabelledImages,
    available,
    check,
    class_counts,
    load,
)
from spikelore.data.splits import Splits, split

__all__ = [
    "CheckResult",
    "Dataset",
    "DatasetInfo",
    "LabelledImages",
    "Splits",
    "available",
    "check",
    "class_counts",
    "fetch",
    "load",
    "read_idx",
    "split",
    "write_idx",
]
