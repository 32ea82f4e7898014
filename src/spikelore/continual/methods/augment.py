"""Random affine and elastic changes of grey images."""

import math

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.continual.methods.settings import Augmentation

_GRID = 7


def augment(images: torch.Tensor, by: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Return images changed at random: rotated, scaled, sheared, shifted and displaced.

    Interpolation is bilinear, the outside 0.

    All amounts but the elastic one are uniform between minus and plus the largest; angles and shears are those of
    pixels, also where an image is not square. The elastic displacement is
    normal at 7x7 places, with bicubic interpolation between them (a coarse form of Simard et al. 2003).

    Args:
        images: (B,H,W) float, on any device.
        by: how much.
        generator: of every draw, on the processor.
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
    return F.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)
