"""A device beside the processor, made of the processor: what stands on it cannot be mixed with what does not.

Tensors on it say that they are on torch's ``meta`` device, hold their values apart, and go through torch's dispatch one
operation at a time: operations on both devices are refused as CUDA refuses them, and numbers that come to the
processor are counted. So a whole run can be looked at without a second device, values included.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

HERE, THERE = torch.device("cpu"), torch.device("meta")
aten = torch.ops.aten


class There(torch.Tensor):
    """A tensor on the second device."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "There":
        found = torch.Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), storage_offset=values.storage_offset(), dtype=values.dtype,
            device=THERE, requires_grad=False,
        )  # fmt: skip
        found.values = values
        return found

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        raise RuntimeError(f"{operation} outside of SecondDevice")

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class SecondDevice(TorchDispatchMode):
    """While it is entered, ``meta`` is a device with values.

    Attributes:
        copied: how many numbers were copied to the processor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copied = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler, for seconds

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        named = dict(named or {})
        tensors = [each for each in tree_flatten((arguments, named))[0] if isinstance(each, torch.Tensor)]
        there = [each for each in tensors if isinstance(each, There)]
        assert not any(each.is_meta and not isinstance(each, There) for each in tensors), (
            f"{operation} has a tensor without values"
        )
        target = named.pop("device", None)
        if target is not None:
            target = torch.device(target)
            named["device"] = HERE
        if operation in (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default) and there:
            self.copied += 1
        elif operation in (aten.nonzero.default, aten.masked_select.default, aten._unique2.default) and there:
            raise AssertionError(f"{operation} waits for the device")
        elif operation is aten._to_copy.default and there and target == HERE:
            self.copied += there[0].numel()
        elif operation is aten.copy_.default:
            if there and not isinstance(arguments[0], There):
                self.copied += arguments[0].numel()
        else:
            _refuse_mixed(operation, arguments, named, tensors)
        found = operation(*tree_map(_values, arguments), **tree_map(_values, named))
        on_it = target == THERE if target is not None else bool(there)
        if operation is aten.copy_.default:
            on_it = isinstance(arguments[0], There)
        return tree_map(_back(tensors), found) if on_it else found


def _values(value: Any) -> Any:
    return value.values if isinstance(value, There) else value


def _back(tensors: list[torch.Tensor]) -> Callable[[Any], Any]:
    """Return what turns a result into a tensor there: one of the arguments, where the operation was in place."""
    known = {id(each.values): each for each in tensors if isinstance(each, There)}

    def back(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return known[id(value)] if id(value) in known else There(value)

    return back


def _refuse_mixed(operation: Any, arguments: Any, named: Any, tensors: list[torch.Tensor]) -> None:
    """Refuse tensors of both devices, but for single numbers from the processor and, as CUDA does, its indices."""
    if not any(isinstance(each, There) for each in tensors):
        return
    indices = {id(each) for each in tree_flatten(arguments[1])[0]} if operation in _INDEXED else set()
    for each in tensors:
        if not isinstance(each, There) and each.dim() and id(each) not in indices:
            raise AssertionError(f"{operation} mixes devices: a tensor {tuple(each.shape)} is on the processor")


_INDEXED = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default)
