"""Datasets: reading IDX files, fetching with checksums, and balanced splits."""

from spikelore.data.download import data_folder, fetch
from spikelore.data.events import Events
from spikelore.data.examples import Dataset, Examples, class_counts
from spikelore.data.findings import findings
from spikelore.data.idx import read_idx, write_idx
from spikelore.data.images import Imported, import_images
from spikelore.data.registry import (
    CheckResult,
    DatasetInfo,
    almost,
    available,
    check,
    load,
)
from spikelore.data.splits import Splits, split

__all__ = [
    "CheckResult",
    "Dataset",
    "DatasetInfo",
    "Events",
    "Examples",
    "Imported",
    "Splits",
    "almost",
    "available",
    "check",
    "class_counts",
    "data_folder",
    "fetch",
    "findings",
    "import_images",
    "load",
    "read_idx",
    "split",
    "write_idx",
]
