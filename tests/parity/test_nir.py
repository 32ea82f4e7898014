"""A network in NIR: there and back, and read by snnTorch and Norse, the same spikes."""

import json

import numpy as np
import pytest
import torch

import spikelore as sl
from spikelore.errors import InputError
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.networks.wrapped import TorchNetwork
from spikelore.randomness import torch_generator

nir = pytest.importorskip("nir", reason="nir is not installed; install the extra nir")
from spikelore.networks.nir_format import export_nir, from_nir, import_nir, to_nir, why_not_nir  # noqa: E402

# Weights are multiples of 1/64, pixels of 1/8, and a leak of a half adds a digit a step: potentials are multiples of
# 2^-14, exact in float32 in whatever order they are summed, and never nearer than 2^-15 to this threshold.
EXACT = Leaky(beta=0.5, threshold=1 + 2.0**-15, reset="zero")
SIZES = [
    {"channels": (4, 6), "hidden": (24,)},
    {"channels": (3,), "image": (1, 23, 26)},
    {"channels": (), "hidden": (9,)},
]


def network(**changes):
    settings = {"steps": 6, "coding": "constant", "pooling": "stride", "neuron": EXACT, **changes}
    made = SurrogateNetwork(SurrogateConfig(**settings), torch_generator(0, "nir"))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_((parameter * 256).round() / 64)
    return made


def pictures(made, count=20):
    rows, columns = made.input_shape
    levels = torch.randint(0, 9, (count, rows, columns), generator=torch.Generator().manual_seed(1))
    return levels / 8


def spikes_over_time(model, images, steps):
    """Return the (T,B,K) spikes of a model that nirtorch made, which is handed its state from step to step."""
    spikes, state = [], None
    with torch.no_grad():
        for _ in range(steps):
            found = model(images[:, None], state)
            found, state = found if isinstance(found, tuple) else (found, None)
            spikes.append(found)
    return torch.stack(spikes)


@pytest.fixture
def by_snntorch():
    reader = pytest.importorskip("snntorch.import_nir", reason="snnTorch is not installed; install the test extra")
    return reader.import_from_nir


@pytest.fixture
def by_norse():
    norse = pytest.importorskip("norse.torch", reason="Norse is not installed; install the extra examples")
    return lambda graph: norse.from_nir(graph, dt=1e-4)


@pytest.mark.parametrize("reader", ["by_snntorch", "by_norse"])
@pytest.mark.parametrize("sizes", SIZES)
def test_others_read_it_with_equal_spikes(reader, sizes, tmp_path, request):
    made = network(**sizes)
    images = pictures(made)
    with torch.no_grad():
        expected = made(images)
    assert 0.02 < expected.mean() < 0.98
    export_nir(made, tmp_path / "network.nir")
    model = request.getfixturevalue(reader)(nir.read(tmp_path / "network.nir"))
    assert torch.equal(spikes_over_time(model, images, made.config.steps), expected)


@pytest.mark.parametrize(
    "changes",
    [
        *SIZES,
        {"coding": "bernoulli", "neuron": Leaky(beta=0.9, reset="zero", surrogate="atan", slope=2.0, threshold=0.3)},
        {"neuron": Leaky(beta=0.3, threshold=0.7, reset="zero"), "units_per_class": 3, "split": 2},
        {"image": (1, 30, 30), "kernel": 4, "pool": 3, "channels": (5,)},
    ],
)
def test_there_and_back_it_is_the_same_network(changes, tmp_path):
    made = network(**changes)
    made.classes = (7, 3, 5, 0, 1, 2, 12, 11, 10, 9)
    export_nir(made, tmp_path / "network.nir")
    same = import_nir(tmp_path / "network.nir")
    images = (pictures(made) * 255).numpy().astype(np.uint8)
    scores = made.class_scores(images)
    assert len(np.unique(scores)) > 2
    np.testing.assert_array_equal(same.class_scores(images), scores)
    assert same.classes == made.classes
    for name in ("image", "channels", "hidden", "classes", "steps", "neuron", "coding"):
        assert getattr(same.config, name) == getattr(made.config, name)
    same.learn_(images, np.resize(same.classes, len(images)))
    assert not np.array_equal(same.class_scores(images), scores)


def test_heads_that_grew_go_as_one(tmp_path):
    made = network(classes=2)
    made.grow_([8, 5, 4])
    export_nir(made, tmp_path / "network.nir")
    same = import_nir(tmp_path / "network.nir")
    images = (pictures(made) * 255).numpy().astype(np.uint8)
    assert (same.classes, same.head_sizes) == ((0, 1, 8, 5, 4), [5])
    np.testing.assert_array_equal(same.class_scores(images), made.class_scores(images))


def test_neurons_without_memory_are_those_that_leak_all(tmp_path):
    made = network(membrane="reinitialised", neuron=Leaky(threshold=1 + 2.0**-15))
    export_nir(made, tmp_path / "network.nir")
    same, images = import_nir(tmp_path / "network.nir"), pictures(made)
    assert (same.config.membrane, same.config.neuron.beta) == ("carried", 0)
    with torch.no_grad():
        assert made(images).any()
        assert torch.equal(same(images), made(images))


def test_the_graph_is_that_of_nir():
    made = network(channels=(4, 6), hidden=(24,))
    graph = to_nir(made)
    assert [type(node).__name__ for node in graph.nodes.values()] == [
        "Input", "Conv2d", "LIF", "Conv2d", "LIF", "Flatten", "Affine", "LIF", "Affine", "LIF", "Output",
    ]  # fmt: skip
    assert graph.input_type["input"].tolist() == [1, 28, 28]
    assert graph.output_type["output"].tolist() == [10]
    assert graph.nodes["convolution_1"].stride == (2, 2)
    np.testing.assert_array_equal(graph.nodes["convolution_0"].weight, made.convolutions[0].weight.detach())
    lif = graph.nodes["lif_1"]
    assert lif.tau.shape == (6, 4, 4)
    assert np.unique(lif.tau) == pytest.approx(0.0002)
    assert np.unique(lif.v_threshold) == np.float32(0.5 * (1 + 2.0**-15))


def test_a_network_that_snntorch_wrote_is_read():
    export = pytest.importorskip("snntorch.export_nir", reason="snnTorch is not installed; install the test extra")
    snntorch = pytest.importorskip("snntorch")
    linear = torch.nn.Linear(20, 3)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.copy_((parameter * 256).round() / 64)
    neuron = snntorch.Leaky(
        beta=torch.full((3,), 0.5), threshold=torch.full((3,), 0.75), reset_mechanism="zero", init_hidden=True
    )
    theirs = torch.nn.Sequential(linear, neuron)
    graph = export.export_to_nir(theirs, torch.zeros(1, 20), ignore_dims=[0])
    with pytest.raises(InputError, match="for how many steps"):
        from_nir(graph)
    found = from_nir(graph, steps=5)
    assert (found.config.neuron.beta, found.config.neuron.threshold) == (0.5, 0.75)
    images = pictures(found, 30)
    neuron.reset_mem()
    with torch.no_grad():
        expected = torch.stack([theirs(images.flatten(1)) for _ in range(5)])
        assert 0.05 < expected.mean() < 0.95
        assert torch.equal(found(images), expected)


STREAM = sl.split_stream("digits-sample", [(0, 1)])


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: sl.FirstSpikeNetwork.for_stream(STREAM), "a first-spike network .* fire once at most"),
        (lambda: sl.RateLIFNetwork.for_stream(STREAM), "a rate-lif network .* conductances with reversal"),
        (lambda: TorchNetwork(torch.nn.Linear(4, 2), (0, 1), (2, 2)), "a Linear network .* that library"),
        (lambda: network(pooling="max"), "pools by maximum"),
        (lambda: network(neuron=Leaky()), "reset by subtraction"),
        (lambda: network(neuron=Leaky(beta=1.0, reset="zero")), "no leak"),
        (lambda: network(classes=0), "no outputs yet"),
    ],
)
def test_what_cannot_go_is_told_in_a_sentence(made, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        export_nir(made(), tmp_path / "network.nir")
    assert not (tmp_path / "network.nir").exists()


def test_pooling_of_one_place_is_none():
    assert why_not_nir(network(pooling="max", pool=1, channels=(3,))) is None


def changed(**changes):
    """Return the graph of a network with attributes of nodes changed, by ``node__attribute``."""
    graph = to_nir(network(channels=(3, 3)))
    for title, value in changes.items():
        node, attribute = title.split("__")
        setattr(graph.nodes[node], attribute, value)
    return graph


def with_metadata(text):
    graph = changed()
    graph.metadata["spikelore"] = text
    return graph


def with_a_branch():
    graph = changed()
    graph.edges.append(("input", "linear_2"))
    return graph


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        (lambda: changed(convolution_0__padding=(1, 1)), "padding \\(1, 1\\)"),
        (lambda: changed(convolution_0__stride=(1, 1)), "kernels and strides \\[\\(5, 1\\), \\(5, 2\\)\\]"),
        (lambda: changed(lif_0__v_reset=np.full((3, 12, 12), 0.1)), "v_reset other than 0"),
        (lambda: changed(lif_0__tau=np.full((3, 12, 12), 1.0)), "leaks and thresholds"),
        (lambda: changed(linear_2__bias=np.full(10, np.nan)), "NaN"),
        (lambda: changed(linear_2__weight=np.zeros((10, 7))), "has shape \\(10, 7\\)"),
        (lambda: nir.NIRGraph.from_list(nir.SumPool2d((2, 2), (2, 2), (0, 0)), type_check=False), "chain of SumPool2d"),
        (with_a_branch, "expected a chain"),
        (lambda: with_metadata("[]"), "no names and values"),
        (lambda: with_metadata(json.dumps({"steps": 4, "classes": [1, 2, 1]})), "side by side"),
    ],
)
def test_graphs_of_another_form_are_refused(graph, sentence):
    with pytest.raises(InputError, match=sentence):
        from_nir(graph(), steps=3)


def test_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "network.nir"
    with pytest.raises(InputError, match="does not exist"):
        import_nir(path)
    path.write_text("not HDF5")
    with pytest.raises(InputError, match="no NIR file"):
        import_nir(path)
    export_nir(network(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="no NIR file"):
        import_nir(path)
    nir.write(path, with_metadata(json.dumps({"steps": 4, "neuron": {"no such": 1}})))
    with pytest.raises(InputError, match="no network of the form"):
        import_nir(path)
