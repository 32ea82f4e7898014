"""The section ``stream.recordings`` of a configuration: what becomes of recordings before they are a stream."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from spikelore.coding.image_events import latency_events
from spikelore.data.events import Events
from spikelore.data.examples import Dataset, Examples, concatenated
from spikelore.data.streams import leave_out
from spikelore.errors import InputError, check_fields, check_whole
from spikelore.randomness import generator


@dataclass(frozen=True)
class RecordingsSettings:
    """What becomes of recordings, in this order; by default nothing.

    Attributes:
        latency_ms: images become recordings in which bright pixels spike first, within so many milliseconds; see
            `spikelore.coding.image_events.latency_events`; 0 leaves them images.
        pool: neighbouring units that become one, whose events are those of all of them.
        merged: whether train and test set are put together and divided anew at random, as many recordings in each as
            before: speakers of the test set are then heard in training (a fault of Dequino et al.'s code, arXiv
            2407.03111).
        unheard: number of a speaker who is tested alone and whom training never hears; -1 for the published sets.
    """

    latency_ms: float = 0.0
    pool: int = 1
    merged: bool = False
    unheard: int = -1

    def __post_init__(self) -> None:
        check_fields(self, "stream.recordings.")
        check_whole("stream.recordings.pool", self.pool, 1)
        if self.latency_ms < 0 or self.unheard < -1:
            raise InputError(
                f"stream.recordings has latency_ms {self.latency_ms} and unheard {self.unheard}, expected 0 or more "
                "and -1 or more; correct them"
            )
        if self.merged and self.unheard >= 0:
            raise InputError(
                "stream.recordings has merged files and an unheard speaker, expected one of them at most: who is "
                "merged is heard; leave one out"
            )

    def of(self, dataset: Dataset, seed: int) -> Dataset:
        """Return a dataset as a stream takes it.

        Args:
            dataset: as it was read.
            seed: of the division of ``merged`` sets.

        Raises:
            InputError: images where recordings are needed, or no such speaker.
        """
        if self.latency_ms:
            dataset = _changed(dataset, lambda part: latency_events(part.inputs, self.latency_ms))
        if self.pool > 1:
            dataset = _changed(dataset, lambda part: pooled(part.inputs, self.pool))
        if self.merged:
            every = concatenated([dataset.train, dataset.test])
            order = generator(seed, "stream", "merged").permutation(len(every))
            train, test = (every.take(each) for each in np.split(order, [len(dataset.train)]))
            dataset = replace(dataset, train=train, test=test)
        return dataset if self.unheard < 0 else leave_out(dataset, self.unheard)


def _changed(dataset: Dataset, change: Callable[[Examples], Events]) -> Dataset:
    def other(part: Examples) -> Examples:
        return part.changed(inputs=change(part))

    return replace(
        dataset, train=other(dataset.train), test=other(dataset.test),
        validation=dataset.validation and other(dataset.validation),
    )  # fmt: skip


def pooled(events: Events, by: int) -> Events:
    """Return recordings in which each ``by`` neighbouring units are one, with the events of all of them.

    Units of a camera are pooled along their last axis. Where ``by`` does not divide it the last unit is of fewer.

    Raises:
        InputError: these are images.

    Example:
        >>> two = Events([0, 1500, 700], [2, 0, 1], [0, 2, 3], (3,))
        >>> pooled(two, 2).units.tolist(), pooled(two, 2).unit_shape
        ([1, 0, 0], (2,))
    """
    if not isinstance(events, Events):
        raise InputError(
            "stream.recordings.pool is for recordings of spikes, and the dataset has images; set latency_ms or leave "
            "pool out"
        )
    *first, last = events.unit_shape
    narrow = -(-last // by)
    rows, place = np.divmod(events.units.astype(np.int64), last)
    return Events(events.times_us, rows * narrow + place // by, events.offsets, (*first, narrow))
