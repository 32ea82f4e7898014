"""Devices that torch computes on: finding one by name, and where a module's weights are."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from spikelore.errors import InputError


def device_named(name: str) -> torch.device:
    """Return a device by its name, such as ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        InputError: torch knows no such device, or sees none here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # no such name, no support for it, no device
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(
            f"the device is {name!r}, expected one that torch {torch.__version__} sees here ({reason}); choose another "
            "one, or cpu"
        ) from error
    return device


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's weights; the processor where it has none."""
    return next((each.device for each in module.parameters()), torch.device("cpu"))


def array_of(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor's values as an array, which shares memory with a tensor on the processor.

    Those of a type that NumPy does not have, such as bfloat16, are float32: exact.
    """
    tensor = tensor.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:
        return tensor.float().numpy()
