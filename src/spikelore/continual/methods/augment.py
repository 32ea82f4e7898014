"""Random changes of what is learned: affine and elastic ones of grey images, and those of recordings of spikes."""

import math

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.networks.gradient_learning import Augmentation, RecordingAugmentation

_GRID = 7


def augment(images: torch.Tensor, by: Augmentation, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return images changed at random: rotated, scaled, sheared, shifted and displaced, some of their rows dark.

    Interpolation is bilinear, the outside 0.

    All amounts but the last two are uniform between minus and plus the largest; angles and shears are those of
    pixels, also where an image is not square. The elastic displacement is
    normal at 7x7 places, with bicubic interpolation between them (a coarse form of Simard et al. 2003). The dark rows
    are a band of uniform width anywhere (Park et al. 2019, arXiv 1904.08779).

    Args:
        images: (B,H,W) float, on any device.
        by: how much.
        generator: of every draw, on the processor; torch's global one if not given.
    """
    count, rows, columns = images.shape

    def uniform(largest: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * largest

    angle = uniform(math.radians(by.rotation))
    scale_x, scale_y, shear = 1 + uniform(by.scale), 1 + uniform(by.scale), uniform(by.shear)
    matrix = torch.zeros(count, 2, 3)  # of coordinates from -1 to 1 along either side, whatever their lengths
    matrix[:, 0, 0] = angle.cos() * scale_x
    matrix[:, 0, 1] = (shear - angle.sin() * scale_y) * (rows / columns)
    matrix[:, 1, 0] = angle.sin() * scale_x * (columns / rows)
    matrix[:, 1, 1] = angle.cos() * scale_y
    matrix[:, 0, 2] = uniform(2 * by.shift / columns)
    matrix[:, 1, 2] = uniform(2 * by.shift / rows)
    grid = F.affine_grid(matrix.to(images.device), [count, 1, rows, columns], align_corners=False)
    if by.elastic:
        pixel = torch.tensor([2 / columns, 2 / rows]).view(1, 2, 1, 1)
        coarse = torch.randn(count, 2, _GRID, _GRID, generator=generator) * by.elastic * pixel
        smooth = F.interpolate(coarse.to(images.device), size=(rows, columns), mode="bicubic", align_corners=True)
        grid = grid + smooth.permute(0, 2, 3, 1)
    changed = F.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)
    return changed * ~_along(changed, 1, _band(rows, by.band, count, generator)) if by.band else changed


def _band(size: int, share: float, count: int, generator: torch.Generator | None) -> torch.Tensor:
    """Return which of ``size`` neighbouring places are taken away, (count,size): at most that share of them."""
    width = torch.rand(count, 1, generator=generator) * share * size
    first = torch.rand(count, 1, generator=generator) * (size - width)
    place = torch.arange(size)
    return (place >= first) & (place < first + width)


def augment_recordings(
    spikes: torch.Tensor, by: RecordingAugmentation, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Return recordings changed at random: moved and stretched along places and time, and with fewer spikes.

    With uniform draws d between minus and plus the largest amount, place p of P shows what was nearest to
    ``m + (p - m) (1 + d_stretch) + d_shift P``, m the middle, and step t of T what was nearest to
    ``t (1 + d_tempo) + d_delay T``; from outside come no spikes. Then spikes are dropped with a probability that is
    uniform up to ``thinning``, and a band of places and a gap in time fall silent, of uniform widths anywhere.

    Args:
        spikes: (B,T,U) or, of a camera, (B,T,C,H,W), 0 or 1.
        by: how much.
        generator: of every draw, on the processor; torch's global one if not given.
    """
    steps, places = spikes.shape[1], {axis: spikes.shape[axis] for axis in ((2,) if spikes.dim() == 3 else (3, 4))}

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(len(spikes), 1, generator=generator) * (high - low) + low

    def sources(size: int, about: float, scale: float, shift: float) -> torch.Tensor:
        away = torch.arange(size) - about
        return (about + away * (1 + uniform(-scale, scale)) + uniform(-shift, shift) * size).round().long()

    if by.tempo or by.delay:
        spikes = _taken(spikes, 1, sources(steps, 0, by.tempo, by.delay))
    if by.stretch or by.shift:
        for axis, size in places.items():
            spikes = _taken(spikes, axis, sources(size, (size - 1) / 2, by.stretch, by.shift))
    if by.thinning:
        dropped = uniform(0, by.thinning).view(-1, *[1] * (spikes.dim() - 1))
        spikes = spikes * (torch.rand(spikes.shape, generator=generator) >= dropped).to(spikes.device)
    for axis, size in places.items() if by.band else ():
        spikes = spikes * ~_along(spikes, axis, _band(size, by.band, len(spikes), generator))
    return spikes * ~_along(spikes, 1, _band(steps, by.gap, len(spikes), generator)) if by.gap else spikes


def _along(spikes: torch.Tensor, axis: int, each: torch.Tensor) -> torch.Tensor:
    """Return (B,size) values so that they go along an axis of (B,T,...) spikes."""
    shape = (size if one == axis else 1 for one, size in enumerate(spikes.shape) if one)
    return each.view(len(each), *shape).to(spikes.device)


def _taken(spikes: torch.Tensor, axis: int, sources: torch.Tensor) -> torch.Tensor:
    """Return (B,T,...) spikes with each place of an axis from another one, (B,size); 0 from those that are outside."""
    size = spikes.shape[axis]
    index = _along(spikes, axis, sources.clamp(0, size - 1)).expand(spikes.shape)
    return spikes.gather(axis, index) * _along(spikes, axis, (sources >= 0) & (sources < size))
