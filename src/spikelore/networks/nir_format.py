"""A network as a graph of NIR, which other libraries and neuromorphic chips read, and back.

NIR's leaky integrate-and-fire neuron is ``tau dv/dt = (v_leak - v) + r I``; it spikes and is set to ``v_reset`` where v
exceeds ``v_threshold``. In steps of dt that is ``v[t] = (1 - dt/tau) v[t-1] + (dt/tau) r I[t]``. With r = 1,
``tau = dt / (1 - beta)`` and ``v_threshold = (1 - beta) threshold`` that is the neuron of `spikelore.kernels.lif_scan`
with the reset ``zero``, v being ``(1 - beta) U``: the same spikes for the same weights, which go as they are. A
convolution in strides is NIR's Conv2d; max pooling is not in NIR.

dt is 0.1 ms, which snnTorch assumes; Norse is told by ``from_nir(graph, dt=1e-4)``. The graph takes one step's input,
channels, rows and columns, and gives one step's spikes of the output units.

Source: Pedersen et al. 2024, Neuromorphic intermediate representation, doi 10.1038/s41467-024-52259-9.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from spikelore.errors import InputError, shortened, shown
from spikelore.files import open_regular, parse_json, write_bytes_atomic
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.heads import linear_layers
from spikelore.networks.stored import check_finite, check_shapes
from spikelore.networks.surrogate import SurrogateNetwork
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.networks.surrogate_layers import expected_arrays
from spikelore.randomness import check_seed
from spikelore.shapes import as_labels

STEP_MS = 0.1
"""dt, which snnTorch takes for granted."""
_TOLD = "spikelore"
"""The metadata in which a graph says what NIR has no word for."""
_ROUNDED = 1e-6
"""By how much a leak or a threshold may differ that went through a division in float32."""
_NOT_OURS = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
_CANNOT = {
    "first-spike": "its neurons fire once at most, its maps are pooled by the earliest spike and its units compete by "
    "correlation, and NIR has none of the three",
    "rate-lif": "its neurons have conductances with reversal potentials, adaptive thresholds and refractory times, and "
    "NIR's have none of the three",
}


def why_not_nir(network: Any) -> str | None:
    """Return in a sentence why NIR cannot say what a network does; None if it can.

    Example:
        >>> from spikelore import SurrogateNetwork, split_stream
        >>> from spikelore.networks.nir_format import why_not_nir
        >>> why_not_nir(SurrogateNetwork.for_stream(split_stream("digits-sample", [(0, 1)])))
        'the network pools by maximum, which NIR has not; train one with pooling "stride"'
    """
    if not isinstance(network, SurrogateNetwork):
        name = getattr(network, "name", type(network).__name__)
        known = _CANNOT.get(name, "it is a module of another library; export it with that library")
        return f"a {name} network cannot be written as NIR: {known}"
    config = network.config
    if not network.heads:
        return "the network has no outputs yet; let it learn first"
    if config.channels and config.pooling == "max" and config.pool > 1:
        return 'the network pools by maximum, which NIR has not; train one with pooling "stride"'
    if config.membrane == "carried" and config.neuron.reset != "zero":
        return "the network's neurons reset by subtraction, and NIR's to a value; train one with neuron.reset \"zero\""
    if config.membrane == "carried" and config.neuron.beta == 1:
        return "the network's neurons have no leak, and libraries read NIR's neuron without one each in another way; " \
            "train one with neuron.beta below 1"  # fmt: skip
    return None


def to_nir(network: Any) -> Any:
    """Return a network as a ``nir.NIRGraph``: Conv2d and LIF, repeated, Flatten, then Affine and LIF, repeated.

    Its classes, number of steps, coding and readout go with it as metadata.

    Raises:
        InputError: NIR cannot say what the network does, or the package nir is missing.
    """
    nir = _nir()
    if reason := why_not_nir(network):
        raise InputError(reason)
    assert isinstance(network, SurrogateNetwork)
    config = network.config
    shapes = [*config.shapes(), (len(network.unit_classes),)]
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(config.image)})}
    for index, (before, after) in enumerate(pairwise(shapes)):
        if index < len(config.channels):
            weight, bias = (each.detach().numpy() for each in network.convolutions[index].parameters())
            settings = {"stride": config.stride, "padding": 0, "dilation": 1, "groups": 1}
            nodes[f"convolution_{index}"] = nir.Conv2d(before[1:], weight, bias=bias, **settings)
        else:
            if len(before) > 1:  # from the third axis from the end, so that a batch may stand before
                nodes["flatten"] = nir.Flatten({"input": np.array(before)}, start_dim=-3, end_dim=-1)
            weight, bias = _matrix(network, index)
            nodes[f"linear_{index}"] = nir.Affine(weight, bias)
        nodes[f"lif_{index}"] = nir.LIF(**_constants(config, after))
    nodes["output"] = nir.Output({"output": np.array(shapes[-1])})
    told = {
        "classes": network.unit_classes.tolist(), "steps": config.steps, "step_ms": STEP_MS, "coding": config.coding,
        "split": config.split, "neuron": asdict(config.neuron), "input": network.learning.input,
        "readout": network.learning.readout, "seed": network.seed,
    }  # fmt: skip
    return nir.NIRGraph(nodes, list(pairwise(nodes)), metadata={_TOLD: json.dumps(told)})


def export_nir(network: Any, path: Path | str) -> None:
    """Write a network as a NIR file, whole or not at all; see `to_nir`.

    Raises:
        InputError: NIR cannot say what the network does, or the package nir is missing.
        SpikeloreError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from spikelore import SurrogateNetwork, split_stream
        >>> from spikelore.kernels.lif_scan import Leaky
        >>> from spikelore.networks.nir_format import export_nir, import_nir
        >>> stream = split_stream("digits-sample", [(0, 1)])
        >>> network = SurrogateNetwork.for_stream(stream, pooling="stride", neuron=Leaky(beta=0.9, reset="zero"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_nir(network, Path(folder, "network.nir"))
        ...     same = import_nir(Path(folder, "network.nir"))
        >>> images = stream.tasks[0].test.inputs
        >>> bool((same.class_scores(images) == network.class_scores(images)).all())
        True
    """
    content = io.BytesIO()
    graph = to_nir(network)
    _nir().write(content, graph)
    write_bytes_atomic(Path(path), content.getvalue())


def import_nir(path: Path | str, *, steps: int | None = None, step_ms: float | None = None) -> SurrogateNetwork:
    """Read a NIR file as a network; see `from_nir`.

    Raises:
        InputError: no such file, none of NIR, or a graph of another form; or the package nir is missing.
    """
    nir, path = _nir(), Path(path)
    try:
        with open_regular(path, "a NIR file (.nir)") as file:
            graph = nir.read(io.BytesIO(file.read()))
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist, expected a NIR file (.nir); correct the path") from error
    except _NOT_OURS as error:
        told = shortened(" ".join(str(error).split()))
        raise InputError(f"{path} is no NIR file that can be read ({told}); take another copy") from error
    try:
        return from_nir(graph, steps=steps, step_ms=step_ms)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except _NOT_OURS as error:
        told = shortened(" ".join(str(error).split()))
        raise InputError(f"{path} holds no network of the form that is read here ({told}); export it anew") from error


def from_nir(graph: Any, *, steps: int | None = None, step_ms: float | None = None) -> SurrogateNetwork:
    """Return a ``nir.NIRGraph`` as a network that goes on learning.

    The graph is a chain: Conv2d and LIF, any number of times, with or without Flatten, then Affine or Linear and LIF,
    at least once. All convolutions have one kernel and stride and no padding, all neurons the same constants. A
    neuron's ``r`` and ``tau`` become a threshold for the weights as they are: U is ``v tau / (r dt)``.

    Args:
        graph: as `to_nir` or another library made it.
        steps: T; by default what the graph says, which only ours do.
        step_ms: dt; by default what the graph says, or 0.1.

    Raises:
        InputError: a graph of another form, or one that does not say its number of steps where ``steps`` is not given.
    """
    told = _told(graph)
    steps = told.get("steps") if steps is None else steps
    if steps is None:
        raise InputError("the graph does not say for how many steps an image is shown; say it with steps=")
    chain = list(_chain(graph))
    weights = [node for node in chain if _kind(node) in ("Conv2d", "Affine", "Linear")]
    found = [_kind(node) for node in chain[1:-1] if _kind(node) != "Flatten"]
    convolutions = [node for node in weights if _kind(node) == "Conv2d"]
    matrices = weights[len(convolutions) :]
    if found != [kind for node in (*convolutions, *matrices) for kind in (_kind(node), "LIF")] or not matrices:
        raise InputError(
            f"the graph is a chain of {', '.join(found) or 'nothing'}, expected Conv2d and LIF by turns and then "
            "Affine or Linear and LIF by turns; what else NIR has is not read here"
        )
    image = tuple(as_labels(np.atleast_1d(chain[0].input_type["input"]), what="the graph's input shape").tolist())
    labels = as_labels(told.get("classes", range(len(matrices[-1].weight))), what="the graph's classes").tolist()
    units = Counter(labels)  # in the order of the outputs
    if labels != list(units.elements()):
        raise InputError(f"the graph's classes are {shown(labels)}, expected the units of a class side by side")
    kernel, stride = _geometry(convolutions)
    config = SurrogateConfig(
        image=cast(tuple[int, int, int], (1,) * (3 - len(image)) + image),  # which refuses more than three
        channels=tuple(len(node.weight) for node in convolutions),
        kernel=kernel,
        pool=stride,
        pooling="stride",
        hidden=tuple(len(node.weight) for node in matrices[:-1]),
        classes=len(units),
        steps=steps,
        neuron=_neuron([node for node in chain if _kind(node) == "LIF"], told, step_ms),
        coding=told.get("coding", "constant"),
        split=min(told.get("split", 1), len(weights) - 1),
    )
    return _network(config, weights, units, told)


def _network(
    config: SurrogateConfig, weights: list[Any], units: Mapping[int, int], told: Mapping[str, Any]
) -> SurrogateNetwork:
    """Return a network with the weights of a graph's nodes and so many ``units`` of each class."""
    expected = expected_arrays(config, [tuple(units.values())])
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, node in zip((each for each in expected if each.endswith(".weight")), weights, strict=True):
        bias = getattr(node, "bias", None)
        arrays[name] = np.asarray(node.weight, np.float32)
        arrays[name.replace("weight", "bias")] = np.zeros(len(node.weight), np.float32) if bias is None else bias
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    check_shapes(arrays, expected, "the graph: ")
    check_finite(arrays, "the graph: ")
    learning = GradientLearning(input=told.get("input", "grey"), readout=told.get("readout", "spikes"))
    network = SurrogateNetwork(replace(config, classes=0), torch.Generator().manual_seed(0), learning=learning)
    network._add_head_of(tuple(units.values()))
    network.config, network.classes = config, tuple(units)
    network.seed = check_seed(told.get("seed", 0))
    network.load_state_dict(arrays)
    return network


def _nir() -> Any:
    try:
        import nir
    except ImportError as error:
        raise InputError(
            f"NIR files need the package nir, which cannot be imported ({error}); install it with: pip install "
            "'spikelore[nir]'"
        ) from error
    return nir


def _kind(node: Any) -> str:
    return type(node).__name__


def _matrix(network: SurrogateNetwork, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight and bias of a fully connected layer, or of all heads together."""
    place = index - len(network.convolutions)
    layers = linear_layers(network.hidden)[place : place + 1] or linear_layers(network.heads)
    weight, bias = (torch.cat([getattr(each, name) for each in layers]).detach().numpy() for name in ("weight", "bias"))
    return weight, bias


def _constants(config: SurrogateConfig, shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    """Return the constants of NIR's neurons for a layer of ``shape``, so that float32 gives beta back exactly."""
    beta = config.neuron.beta if config.membrane == "carried" else 0.0
    step = np.float32(STEP_MS / 1000)
    tau = step / (np.float32(1) - np.float32(beta))
    threshold = np.float32(config.neuron.threshold) * (step / tau)
    values = {"tau": tau, "r": 1, "v_leak": 0, "v_threshold": threshold, "v_reset": 0}
    return {name: np.full(shape, value, np.float32) for name, value in values.items()}


def _told(graph: Any) -> dict[str, Any]:
    """Return what a graph of ours says beside NIR; nothing of another's."""
    text = getattr(graph, "metadata", {}).get(_TOLD, "{}")
    found = parse_json(text)
    if not isinstance(found, dict):
        raise InputError(f"the graph's metadata {_TOLD} holds no names and values; export it anew")
    return found


def _chain(graph: Any) -> Iterator[Any]:
    """Yield the nodes from input to output.

    Raises:
        InputError: they are no chain.
    """
    after = dict(graph.edges)
    starts = [name for name, node in graph.nodes.items() if _kind(node) == "Input"]
    name = starts[0] if len(starts) == 1 else None
    seen = 0
    while name is not None:
        yield graph.nodes[name]
        seen += 1
        name = after.get(name) if seen <= len(graph.nodes) else None
    if len(set(graph.edges)) != len(graph.nodes) - 1 or seen != len(graph.nodes):
        raise InputError(
            f"the graph has {len(graph.nodes)} nodes and {len(set(graph.edges))} edges, expected a chain from one "
            "input to one output; networks with branches or loops are not read here"
        )


def _geometry(convolutions: list[Any]) -> tuple[int, int]:
    """Return the side of the kernels and the stride of all convolutions."""
    found = set()
    for node in convolutions:
        rows, columns = node.weight.shape[2:]
        steps, padding, dilation = (
            {int(one) for one in np.ravel(each)} for each in (node.stride, node.padding, node.dilation)
        )
        if rows != columns or len(steps) != 1 or padding != {0} or dilation != {1} or int(node.groups) != 1:
            raise InputError(
                f"a Conv2d has a kernel of {rows}x{columns}, stride {node.stride}, padding {node.padding}, dilation "
                f"{node.dilation} and {node.groups} groups, expected a square kernel, one stride, no padding, no "
                "dilation, one group; others are not read here"
            )
        found.add((rows, *steps))
    if len(found) > 1:
        raise InputError(
            f"the graph's convolutions have kernels and strides {sorted(found)}, expected one for all; others are not "
            "read here"
        )
    return found.pop() if found else (1, 1)


def _neuron(nodes: list[Any], told: Mapping[str, Any], step_ms: float | None) -> Leaky:
    """Return the neuron that all of a graph's are."""
    step = np.float32((told.get("step_ms", STEP_MS) if step_ms is None else step_ms) / 1000)
    found = set()
    for node in nodes:
        names = ("tau", "r", "v_leak", "v_reset", "v_threshold")
        values = {name: np.unique(np.asarray(getattr(node, name), np.float32)) for name in names}
        if any(len(each) != 1 for each in values.values()) or values["v_leak"] or values["v_reset"]:
            raise InputError(
                "a LIF of the graph has constants that differ between neurons, or a v_leak or v_reset other than 0, "
                "expected one neuron for a layer that leaks and resets to 0; others are not read here"
            )
        share = step / values["tau"][0]
        both = np.float32(1) - share, values["v_threshold"][0] / (values["r"][0] * share)
        found.add(tuple(float(str(each)) for each in both))  # of all numbers that it may stand for the shortest
    if len(found) != 1:
        raise InputError(
            f"the graph's layers have leaks and thresholds {sorted(found)}, expected one for all; others are not read "
            "here"
        )
    beta, threshold = found.pop()
    ours = Leaky(**{**told.get("neuron", {}), "reset": "zero"})
    if np.allclose((ours.beta, ours.threshold), (beta, threshold), rtol=_ROUNDED, atol=_ROUNDED):
        return ours
    return replace(ours, beta=beta, threshold=threshold)
