import pytest
import torch

from spikelore.errors import InputError
from spikelore.experiments import config_file
from spikelore.experiments.execution import Execution
from spikelore.networks.devices import array_of, device_named


@pytest.mark.parametrize("name", ["cuda:77", "nowhere", "xpu:9", ""])
def test_a_device_that_is_not_there(name):
    with pytest.raises(InputError, match=rf"^the device is '{name}', expected one that torch \S+ sees here \(.+\); "):
        device_named(name)


def test_the_processor_is_there():
    assert device_named("cpu") == torch.device("cpu")


def test_arrays_of_types_that_numpy_does_not_have():
    assert array_of(torch.tensor([1.5], dtype=torch.bfloat16)).tolist() == [1.5]


@pytest.mark.parametrize("kind", ["fusion", "decay", "local"])
def test_networks_of_local_rules_stay_on_the_processor(kind):
    config = config_file.build(kind, {}, ["--execution.device", "cpu"])
    assert config_file.on_device(config, None) is config
    expected = rf"the device is 'cuda', expected 'cpu' with the experiment {kind}, whose networks learn by local rules"
    with pytest.raises(InputError, match=expected):
        config_file.on_device(config, "cuda")
    with pytest.raises(InputError, match=expected):
        config_file.build(kind, {}, ["--execution.device", "cuda"])


def test_where_a_run_computes_is_no_part_of_what_it_is():
    config = config_file.build("replay", {"data": "digits-sample", "memory": {"images": 40}})
    there = config_file.on_device(config, "cuda")
    assert there.execution == Execution(device="cuda")
    assert there.jobs() == config.jobs()
