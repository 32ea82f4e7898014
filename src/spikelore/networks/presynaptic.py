"""What enters each layer of weights of a torch module, so that a rule can learn from presynaptic activity."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.errors import InputError
from spikelore.networks.foreign import has_methods, respond, same_draws

Weighted = nn.Linear | nn.Conv2d


def weighted_layers(module: nn.Module) -> dict[str, Weighted]:
    """Return a module's layers of weights, linear ones and convolutions, by name as submodules.

    Raises:
        InputError: a convolution in groups, or whose border is no zeros of a given width.
    """
    found = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    for name, layer in found.items():
        if isinstance(layer, nn.Conv2d) and (
            layer.groups > 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str)
        ):
            raise InputError(
                f"{name} of {type(module).__name__} is a convolution in groups or with a border of its own, expected "
                "one group and zeros of a given width around the image; choose another layer"
            )
    return found


@torch.no_grad()
def presynaptic(module: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what enters each layer of weights while a module answers, by the layer's name.

    The module is asked from rest, in evaluation mode, and nothing in it moves nor its generators. One that multiplies
    by the weights of its layers without calling them gives ``layer_inputs``; see
    `spikelore.networks.protocol.TracedModule`. A layer that nothing enters is left out.

    Args:
        module: of `weighted_layers`.
        inputs: (B,H,W) images as it takes them.

    Returns:
        (N,D) float32 each: a row for each input and step, of a convolution for each place too; D are the inputs of a
        neuron, in the order of the weights, and after them a 1 if there is a bias.

    Raises:
        InputError: as `weighted_layers`.
        SpikeloreError: an exception in the module.
    """
    layers = weighted_layers(module)
    with same_draws(module):
        if has_methods(module, "layer_inputs"):
            given: Any = module
            entered = {name: [one] for name, one in respond(module, given.layer_inputs, inputs, still=True).items()}
        else:
            entered = _watched(module, layers, inputs)
    return {name: torch.cat([_rows(layers[name], one) for one in every]) for name, every in entered.items()}


def _watched(module: nn.Module, layers: dict[str, Weighted], inputs: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """Return what each call of each layer got while the module answers."""
    entered: dict[str, list[torch.Tensor]] = {}

    def watch(name: str) -> Any:
        return lambda _, got: entered.setdefault(name, []).append(got[0].detach())

    handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    try:
        respond(module, module, inputs, still=True)
    finally:
        for handle in handles:
            handle.remove()
    return entered


def _rows(layer: Weighted, entered: torch.Tensor) -> torch.Tensor:
    if isinstance(layer, nn.Conv2d):
        images = entered.reshape(-1, *entered.shape[-3:]).float()
        shape: Any = (layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        rows = F.unfold(images, *shape).transpose(1, 2).flatten(0, 1)
    else:
        rows = entered.reshape(-1, entered.shape[-1]).float()
    return rows if layer.bias is None else F.pad(rows, (0, 1), value=1.0)
