"""What is worth knowing of images before a network spends time on them: sentences, not errors."""

import numpy as np

from spikelore.data.event_folders import event_findings
from spikelore.data.events import Events
from spikelore.data.examples import Dataset, Examples

_SAMPLE = 1000
_DIFFERENT = 0.9
"""Share of different images among the training images below which it is told."""


def sample(images: Examples, count: int = _SAMPLE) -> np.ndarray:
    """Return at most ``count`` images, taken at equal distances: (N,H,W)."""
    return images.inputs[:: max(1, -(-len(images) // count))]


def findings(dataset: Dataset) -> list[str]:
    """Return a sentence for each thing about a dataset's inputs that is most likely not meant.

    Of recordings, see `spikelore.data.event_folders.event_findings`; of images as follows.

    Looked for: a bright border, images of one grey level, equal images, test images that are training images, and a
    class with less than a tenth of another's training images.
    """
    name, train, test = dataset.name, dataset.train, dataset.test
    if isinstance(train.inputs, Events):
        return event_findings(dataset)
    found = []
    shown = sample(train)
    border = float(np.median(np.concatenate([shown[:, 0].ravel(), shown[:, -1].ravel(), shown[:, :, [0, -1]].ravel()])))
    if border > 127:
        found.append(
            f"{name} looks inverted: the median of its border pixels is {border:.0f}, expected a background of 0; "
            "import it with --invert yes, or take 255 - images"
        )
    flat = train.inputs.reshape(len(train), -1)
    constant = int((flat == flat[:, :1]).all(axis=1).sum())
    if constant:
        found.append(f"{name}: {constant} of {len(train)} training images have one grey level only; remove them")
    known = {image.tobytes() for image in train.inputs}
    if len(known) < _DIFFERENT * len(train):
        found.append(f"{name}: {len(train)} training images are only {len(known)} different ones")
    both = sum(image.tobytes() in known for image in test.inputs)
    if both:
        found.append(
            f"{name}: {both} of {len(test)} test images are training images too, of which an accuracy says little; "
            "divide it anew"
        )
    values, counts = np.unique(train.labels, return_counts=True)
    least, most = int(counts.argmin()), int(counts.argmax())
    if 10 * counts[least] < counts[most]:
        found.append(
            f"{name}: class {values[least]} has {counts[least]} training images, class {values[most]} {counts[most]}"
        )
    return found
