"""Where datasets of recordings are published, and what must arrive."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EventSource:
    """A dataset of recordings that can be fetched.

    Args:
        files: remote file's name to its address and its MD5, as tonic's ``datasets/hsd.py`` and ``nmnist.py`` give it.
        recordings: how many train and test recordings there are.
        classes: how many classes.
        largest: more bytes than any of the remote files has.
        unpacked: archive to the one member that is kept of it; archives that are not named are kept as they are.
    """

    files: Mapping[str, tuple[str, str]]
    recordings: tuple[int, int]
    classes: int
    largest: int
    unpacked: Mapping[str, str]

    @property
    def kept(self) -> tuple[str, ...]:
        """The files that a fetched dataset's folder has."""
        return tuple(self.unpacked.get(one, one) for one in self.files)


def _heidelberg(md5: Mapping[str, str], recordings: tuple[int, int], classes: int, largest: int) -> EventSource:
    files = {f"{name}.zip": (f"https://zenkelab.org/datasets/{name}.zip", digest) for name, digest in md5.items()}
    return EventSource(files, recordings, classes, largest, {f"{name}.zip": name for name in md5})


_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"

EVENT_SOURCES = {
    "shd": _heidelberg(
        {"shd_train.h5": "f3252aeb598ac776c1b526422d90eecb", "shd_test.h5": "1503a5064faa34311c398fb0a1ed0a6f"},
        recordings=(8156, 2264), classes=20, largest=1 << 30,
    ),
    "ssc": _heidelberg(
        {
            "ssc_train.h5": "d102be95e7144fcc0553d1f45ba94170",
            "ssc_valid.h5": "b4eee3516a4a90dd0c71a6ac23a8ae43",
            "ssc_test.h5": "a35ff1e9cffdd02a20eb850c17c37748",
        },
        recordings=(75466, 20382), classes=35, largest=1 << 32,
    ),
    "n-mnist": EventSource(
        {
            "Train.zip": (
                f"{_MENDELEY}39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded", "20959b8e626244a1b502305a9e6e2031"
            ),
            "Test.zip": (
                f"{_MENDELEY}05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded", "69ca8762b2fe404d9b9bad1103e97832"
            ),
        },
        recordings=(60000, 10000), classes=10, largest=1 << 32, unpacked={},
    ),
}  # fmt: skip
"""The datasets of recordings that can be fetched."""

BY_HAND = {
    "dvs-gesture": "its publisher hands it out at research.ibm.com/interactive/dvsgesture; unpack DvsGesture.tar.gz"
}
"""Known datasets of recordings that cannot be fetched: name to where they are."""
