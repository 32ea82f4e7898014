"""Modules that others wrote: called from rest, their answers looked at, their exceptions told in a sentence.

What is asked of such a module stands in `spikelore.networks.protocol`. Nothing here knows a particular one; the two
libraries whose neurons keep their state from call to call, snnTorch and SpikingJelly, are known by their methods.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from spikelore.errors import InputError, SpikeloreError
from spikelore.shapes import Labels

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_DEEPEST = 3
_LONGEST = 1000
_SHOWN = 300


def reason_of(error: BaseException) -> str:
    """Return an exception's kind and message on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_SHOWN]}" if text else type(error).__name__


def kind_of(value: Any) -> str:
    """Return what a value is, as a sentence names it."""
    if isinstance(value, torch.Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


def check_network(network: Any) -> None:
    """Refuse what cannot learn here.

    Raises:
        InputError: no module, weights that have no shape yet or are sparse, or that are on several devices.
    """
    if isinstance(network, type):
        raise InputError(f"the network is the class {network.__name__}, expected a module; make one of it first")
    if not isinstance(network, nn.Module):
        raise InputError(
            f"the network is {kind_of(network)}, expected a torch.nn.Module from images (B,H,W) to spikes (T,B,classes)"
        )
    name, devices = type(network).__name__, {}
    for title, tensor in (*network.named_parameters(), *network.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise InputError(
                f"{title} of {name} has no shape yet, expected a known one; show the network an image first"
            )
        devices.setdefault(tensor.device, title)
        if len(devices) > 1:
            (device, first), *_ = devices.items()
            raise InputError(
                f"{title} of {name} is on {tensor.device} and {first} on {device}, expected one device; move all of it "
                "with to()"
            )
        if tensor.layout != torch.strided:
            raise InputError(f"{title} of {name} is sparse, expected a dense tensor; convert it with to_dense()")


def own_generator(network: Any) -> torch.Generator | None:
    """Return the generator that a `RandomModule` draws from; None for any other module, whatever it calls so."""
    declared = getattr(type(network), "generator", None)
    if isinstance(declared, property) and declared.fset is None:
        return None  # cannot be replaced
    found = getattr(network, "generator", None)
    return found if isinstance(found, torch.Generator) else None


@contextmanager
def same_draws(network: Any) -> Iterator[None]:
    """After the block, the network's generator and torch's global one are as they were before it."""
    own, everywhere = own_generator(network), torch.get_rng_state()
    drawn = None if own is None else own.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(everywhere)
        if own is not None and drawn is not None:
            own.set_state(drawn)


def has_methods(network: Any, *names: str) -> bool:
    """Return whether a module has these methods (or layers), not only something by their names."""
    return all(callable(getattr(network, name, None)) for name in names)


# Weights ------------------------------------------------------------------------------------------------------------


def named_tensors(network: nn.Module, *, all_buffers: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and tensor of each weight and buffer that is saved; ``all_buffers``: of those that are not, too."""
    for title, module in network.named_modules(remove_duplicate=False):
        prefix = f"{title}." if title else ""
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            passing = not all_buffers and name in module._non_persistent_buffers_set
            if tensor is not None and not passing:
                yield prefix + name, tensor


def tensors_of(network: nn.Module, *, all_buffers: bool = False) -> dict[str, torch.Tensor]:
    """Return copies of `named_tensors`."""
    return {name: tensor.detach().clone() for name, tensor in named_tensors(network, all_buffers=all_buffers)}


@torch.no_grad()
def put_(network: nn.Module, others: Mapping[str, torch.Tensor], *, strict: bool = False) -> None:
    """Copy other values into a network's weights and buffers, by name.

    A buffer of another shape is state of a batch and left alone.

    Raises:
        InputError: with ``strict``, a weight that is missing, has another shape or is not the network's.
    """
    mine = dict(named_tensors(network, all_buffers=True))
    if strict:
        weights = {name for name, _ in network.named_parameters(remove_duplicate=False)}
        for name in sorted(weights - set(others)):
            raise InputError(f"{name} is missing")
        for name in sorted(set(others) - set(mine)):
            raise InputError(f"{name} is not one of its weights")
        for name in sorted(weights):
            if mine[name].shape != others[name].shape:
                raise InputError(f"{name} is {tuple(others[name].shape)}, expected {tuple(mine[name].shape)}")
    for name, value in others.items():
        if name in mine and mine[name].shape == value.shape:
            mine[name].copy_(value)


def weights_are_numbers(network: nn.Module) -> bool:
    """Return whether no weight is NaN, nor one that learns infinite.

    Neurons hide such weights: a potential that is NaN never spikes, so that the spikes look like those of silence.
    """
    for weight in network.parameters():
        if not bool((weight.isfinite() if weight.requires_grad else ~weight.isnan()).all()):
            return False
    return True


# Calls --------------------------------------------------------------------------------------------------------------


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """After the block, each module is in the mode, training or evaluation, that it had before."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _library_reset_(module: nn.Module) -> None:
    """Set a neuron of snnTorch or SpikingJelly to rest."""
    if hasattr(type(module), "reset_mem"):
        module.reset_mem()  # type: ignore[operator]
    elif isinstance(vars(module).get("_memories"), dict) and hasattr(type(module), "reset"):
        module.reset()  # type: ignore[operator]


def _package_of(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _is_statistic(now: torch.Tensor | None, before: torch.Tensor | None) -> bool:
    """Return whether a buffer after a call may be told from state: it has the same shape and type and no gradient."""
    if now is None or before is None:
        return now is before
    return now.shape == before.shape and now.dtype == before.dtype and not now.requires_grad


def _is_frozen(value: Any) -> bool:
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen


class _Before:
    """What a module's attributes and buffers were before a call, and how to have them so again."""

    def __init__(self, network: nn.Module) -> None:
        self.noted: set[int] = set()
        self.attributes: dict[int, tuple[Any, Any]] = {}
        self.tensors: dict[int, tuple[torch.Tensor, Any, torch.Tensor]] = {}
        self.buffers: list[tuple[nn.Module, dict[str, torch.Tensor | None]]] = []
        for module in network.modules():
            self._note_module(module, 0)

    def _note_module(self, module: nn.Module, depth: int) -> None:
        if id(module) in self.noted:
            return
        self.noted.add(id(module))
        _library_reset_(module)
        author = _package_of(module)
        buffers = dict(module._buffers.items())
        self.buffers.append((module, buffers))
        for tensor in buffers.values():
            self._note(tensor, depth, author)
        if author != "torch":  # torch's own layers keep state in buffers alone; compiled and scripted ones are its own
            self._note_held(vars(module), depth, author, _OF_EVERY_MODULE)

    def _note_held(self, held: Any, depth: int, author: str, apart: frozenset[str] = frozenset()) -> None:
        """Note what a dictionary, a list or a deque holds."""
        if id(held) in self.attributes or len(held) > _LONGEST or depth > _DEEPEST:
            return
        if isinstance(held, dict):
            items = {name: value for name, value in held.items() if name not in apart}
            values = items.values()
        else:
            items = values = list(held)
        self.attributes[id(held)] = held, items
        for value in values:
            self._note(value, depth + 1, author)

    def _note(self, value: Any, depth: int, author: str) -> None:
        """Note a value; of objects that are no tensors only those of the module's own ``author``, a package."""
        if isinstance(value, torch.Tensor):
            if not isinstance(value, nn.Parameter) and not nn.parameter.is_lazy(value):
                self.tensors[id(value)] = value, value.grad_fn, value.detach().clone()
        elif isinstance(value, nn.Module):
            self._note_module(value, depth)  # in a list, where torch does not look
        elif isinstance(value, dict | list | deque):
            self._note_held(value, depth, author)
        elif _package_of(value) == author and hasattr(value, "__dict__") and not _is_frozen(value):
            self._note_held(vars(value), depth, author)

    def _then(self, value: Any) -> Any:
        """Return a value as it was before, though it may have been changed in place."""
        tensor, origin, clone = self.tensors.get(id(value), (None, None, None))
        if tensor is None or clone is None:
            return value
        return value if tensor.grad_fn is origin and torch.equal(tensor, clone) else clone

    def put_back(self, *, statistics: bool) -> None:
        """Put back all attributes and each buffer that holds state; ``statistics``: every buffer.

        A buffer holds state if a call gave it another shape or a part in the gradients. Running statistics have
        neither.
        """
        for held, items in self.attributes.values():
            self._put_back_held(held, items)
        for module, buffers in self.buffers:
            found = dict(module._buffers.items())
            for name in found.keys() - buffers.keys():
                delattr(module, name)
            for name, before in buffers.items():
                now = found.get(name)
                if not statistics and _is_statistic(now, before):
                    continue
                then = self._then(before)
                if now is not then:
                    module._buffers[name] = then

    def _put_back_held(self, held: Any, items: Any) -> None:
        if isinstance(held, dict):
            for name in [name for name in held if name not in items and name not in _OF_EVERY_MODULE]:
                del held[name]
            for name, value in items.items():
                if held.get(name, held) is not (then := self._then(value)):
                    held[name] = then
            return
        then = [self._then(value) for value in items]
        if len(held) != len(then) or any(a is not b for a, b in zip(held, then, strict=True)):
            held.clear()
            held.extend(then)


@contextmanager
def at_rest(network: nn.Module, *, still: bool = False) -> Iterator[None]:
    """In the block the network starts from rest; afterwards it holds no state of the block.

    Neurons of snnTorch and SpikingJelly are reset. After the block each attribute of each module is what it was
    before, and so is each buffer that holds state: one that got another shape or carries gradients. Running statistics
    and weights stay as the block left them.

    Args:
        network: the module.
        still: nothing may move: evaluation mode, and every buffer is put back; modes afterwards as before.
    """
    before = _Before(network)
    statistics = True
    try:
        if still:
            with modes_kept(network):
                network.eval()
                yield
        else:
            yield
            statistics = False
    finally:
        before.put_back(statistics=statistics)


def respond(network: Any, call: Callable[[torch.Tensor], Any], inputs: torch.Tensor, *, still: bool = False) -> Any:
    """Return what a network answers, from rest; see `at_rest`.

    Args:
        network: a module; any other function is called as it is.
        call: the network or a method of it.
        inputs: its only argument; in the type of the network's weights where that is another.
        still: nothing may move.

    Raises:
        SpikeloreError: an exception in the network.
    """
    try:
        if not isinstance(network, nn.Module):
            return call(inputs)
        weight = next((each for each in network.parameters() if each.is_floating_point()), inputs)
        with at_rest(network, still=still):
            return call(inputs.to(weight.dtype))
    except SpikeloreError:
        raise
    except Exception as error:
        where = getattr(call, "__name__", None)
        name = type(network).__name__ if isinstance(network, nn.Module) else where or "the network"
        part = f"{name}.{where}" if isinstance(network, nn.Module) and where else name
        channel = "; images come as (B,H,W), to which unsqueeze(1) adds a channel" if inputs.dim() == 3 else ""
        found = f"{part} failed on inputs {tuple(inputs.shape)}: {reason_of(error).rstrip('.')}"
        raise SpikeloreError(found + channel) from error


def over_time(output: Any, like: torch.Tensor, name: str, *, counted: str = "images") -> torch.Tensor:
    """Return an answer as (T,B,K) float32 spikes; of a tuple or list, the first.

    Args:
        output: what the network gave.
        like: what it answers, (B,...), on the device that the answer shall be on.
        name: of the network, for the sentence.
        counted: what there are B of.

    Raises:
        InputError: anything else.
    """
    batch = len(like)
    expected = "expected a tensor (T,B,classes) of spikes over time"
    found = kind_of(output)
    if isinstance(output, tuple | list):
        inner = kind_of(output[0]) if output else "nothing"
        found = f"a {type(output).__name__} of {len(output)}, the first {inner}"
        output = output[0] if output else None
        if isinstance(output, torch.Tensor) and output.dim() == 2:
            raise InputError(f"{name} returned {found}, {expected}; join the steps with torch.stack")
    if not isinstance(output, torch.Tensor):
        raise InputError(f"{name} returned {found}, {expected}; return the spikes alone or first")
    shape = tuple(output.shape)
    if output.dim() == 2:
        raise InputError(f"{name} returned {found}, {expected}; return each step, or a step's axis with unsqueeze(0)")
    if output.dim() == 3 and shape[1] != batch and shape[0] == batch:
        raise InputError(
            f"{name} returned {found} for {batch} {counted}, {expected}; exchange its axes: transpose(0, 1)"
        )
    if output.dim() != 3 or shape[1] != batch or not shape[0]:
        raise InputError(f"{name} returned {found} for {batch} {counted}, {expected}; return it so")
    if output.device != like.device:
        raise InputError(f"{name} returned spikes on {output.device} for {counted} on {like.device}; move one of them")
    if output.is_complex() or output.layout != torch.strided:
        raise InputError(f"{name} returned {found}, {expected}, real and dense; return it so")
    if not output.is_floating_point() and torch.is_grad_enabled():
        raise InputError(
            f"{name} returned {found}, through which no gradient flows; return the float spikes of a surrogate function"
        )
    return output.float()


def check_order(network: nn.Module, call: Callable[[torch.Tensor], Any], inputs: torch.Tensor) -> None:
    """Refuse a network whose answer is (B,T,K), where T and B are equal and the shape does not tell: ask one image.

    Raises:
        InputError: the axes are in another order.
    """
    with torch.no_grad(), same_draws(network):
        try:
            output = respond(network, call, inputs[:1], still=True)
        except SpikeloreError:
            return  # a network of a fixed batch cannot be asked
    over_time(output, inputs[:1], type(network).__name__)


def decided(scores: torch.Tensor) -> torch.Tensor:
    """Return the column of the largest of (N,K) scores, (N,) int64; -1 where one is not a finite number."""
    return torch.where(scores.isfinite().all(1), scores.argmax(1), -1)


def decided_label(scores: torch.Tensor, labels: Sequence[int]) -> Labels:
    """Return the label of the largest of (N,K) scores, of which each column has one; -1 as in `decided`."""
    best = decided(scores).cpu().numpy()
    return np.where(best < 0, -1, np.array(labels, np.int64)[best])
