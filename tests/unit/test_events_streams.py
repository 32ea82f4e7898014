"""Recordings by name and by speaker: fetching them, streams of speakers, and recordings as images and back."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from test_data_download import Server
from test_events_files import bin_bytes, write_h5

from spikelore.coding.event_images import EventImages, event_images, image_dataset
from spikelore.coding.image_events import poisson_events, rank_order_events
from spikelore.coding.rank_order import RankOrderConfig, encode
from spikelore.data import Dataset, Events, Examples, check, fetch, load
from spikelore.data import streams as streams_module
from spikelore.data.event_sources import EVENT_SOURCES, EventSource
from spikelore.data.nmnist import saccades
from spikelore.data.streams import group_stream, group_tasks, leave_out, split_stream, split_tasks
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments.stream_settings import Datasets, StreamSettings
from spikelore.kernels.lif_network.spike_trains import stream_key
from spikelore.networks.rate_lif import RateLIFNetwork
from spikelore.networks.surrogate import SurrogateNetwork


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def source_of(files, unpacked=()):
    told = {
        name: ("http://nowhere.invalid/" + name, hashlib.md5(content).hexdigest()) for name, content in files.items()
    }
    return EventSource(told, (4, 4), 2, 1 << 20, {name: name.removesuffix(".zip") for name in unpacked})


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve small datasets in the place of the published ones."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda project: tmp_path / "cache")
    monkeypatch.delenv("SPIKELORE_DATA", raising=False)
    served = Server()
    for part in ("train", "test"):
        name = f"shd_{part}.h5"
        served.files[f"{name}.zip"] = zipped({name: write_h5(tmp_path / "made" / name).read_bytes()})
    monkeypatch.setitem(EVENT_SOURCES, "shd", source_of(dict(served.files), tuple(served.files)))
    camera = {f"{part}.zip": zipped({f"{part}/{n % 2}/{n}.bin": bin_bytes([(n, 0, 1, 5)]) for n in range(4)})
              for part in ("Train", "Test")}  # fmt: skip
    monkeypatch.setitem(EVENT_SOURCES, "n-mnist", source_of(camera))
    served.files |= camera
    yield served
    served.stop()


@pytest.mark.parametrize(("name", "shape"), [("shd", (700,)), ("n-mnist", (2, 34, 34))])
def test_fetched_recordings_are_loaded_checked_and_not_fetched_again(server, tmp_path, name, shape):
    server.misbehave = ["wrong", "cut"]
    folder = fetch(name, tmp_path / "data", server.url, backoff_s=0)
    assert sorted(one.name for one in folder.iterdir()) == sorted(["content.sha256", *EVENT_SOURCES[name].kept])
    assert load(name, tmp_path / "data").train.inputs.shape == (4, *shape)
    (result,) = check(tmp_path / "data")
    assert (result.ok, result.message.endswith("; the content is as recorded at the fetch")) == (True, True)
    asked = len(server.asked)
    assert fetch(name, tmp_path / "data", server.url) == folder
    assert len(server.asked) == asked
    (folder / EVENT_SOURCES[name].kept[0]).write_bytes(b"broken")
    assert not check(tmp_path / "data")[0].ok
    fetch(name, tmp_path / "data", server.url)
    assert check(tmp_path / "data")[0].ok


def test_recordings_that_cannot_be_fetched_get_a_sentence(server, tmp_path, monkeypatch):
    server.misbehave = ["wrong"] * 3
    with pytest.raises(SpikeloreError, match="in 3 tries: found MD5"):
        fetch("shd", tmp_path / "data", server.url, backoff_s=0)
    assert list((tmp_path / "data").iterdir()) == []
    for ask in (fetch, load):
        with pytest.raises(InputError, match=r"'dvs-gesture' .*its publisher hands it out at .*; unpack DvsGesture"):
            ask("dvs-gesture", tmp_path / "data")
    with pytest.raises(InputError, match="expected its folder there; run `spikelore data fetch shd`"):
        load("shd", tmp_path / "data")
    broken = {"shd_train.h5.zip": zipped({"other": b""})}
    monkeypatch.setitem(EVENT_SOURCES, "shd", source_of(broken, tuple(broken)))
    server.files |= broken
    with pytest.raises(SpikeloreError, match=r"shd_train.h5.zip has no shd_train.h5 \(.*\); put the files there by"):
        fetch("shd", tmp_path / "data", server.url)


def test_a_dataset_of_a_known_name_must_be_that_dataset(server, tmp_path, monkeypatch):
    fetch("shd", tmp_path / "data", server.url)
    monkeypatch.setitem(EVENT_SOURCES, "shd", EventSource(EVENT_SOURCES["shd"].files, (8156, 2264), 20, 1, {}))
    (result,) = check(tmp_path / "data")
    assert not result.ok
    assert "has 4 train and 4 test recordings in 2 classes, expected 8156 and 2264 in 20; run" in result.message


def spoken(count=40):
    """Recordings of two words of four speakers; the first event's unit is the recording's number."""
    events = Events.of_recordings([([n], [n]) for n in range(count)], (count,))
    told = Examples(events, np.arange(count) % 2, {"speaker": np.arange(count) // 2 % 4})
    return Dataset("spoken", told, told.take(np.arange(16)), (0, 1), "here", ("no", "yes"))


def numbers(part):
    return part.inputs.units.tolist()


def test_a_task_a_speaker_holds_all_classes_and_no_one_elses_recordings():
    data = spoken()
    tasks = group_tasks(data, validation_share=0.2, seed=3)
    assert [task.name for task in tasks] == ["speaker 0", "speaker 1", "speaker 2", "speaker 3"]
    for speaker, task in enumerate(tasks):
        assert task.classes == (0, 1)
        every = [n for n in range(40) if n // 2 % 4 == speaker]
        assert sorted(numbers(task.train) + numbers(task.validation)) == every
        assert (len(task.validation), numbers(task.test)) == (2, [n for n in every if n < 16])
    first, last = group_tasks(data, "speaker", [[0, 1, 2], [3]])
    assert (first.name, last.name, len(first.train), len(last.train)) == ("speaker 0,1,2", "speaker 3", 27, 9)


def test_published_validation_sets_are_kept():
    data = spoken()
    data = Dataset("spoken", data.train, data.test, (0, 1), "here", validation=data.train.take(np.arange(24, 40)))
    for task in (*group_tasks(data), *split_tasks(data, [[0], [1]])):
        assert len(task.train) in (10, 20)
        assert set(numbers(task.validation)) <= set(range(24, 40))
        assert len(task.validation) in (4, 8)


def test_one_speaker_left_out_is_tested_alone():
    data = leave_out(spoken(), 2)
    assert set(data.train.groups["speaker"].tolist()) == {0, 1, 3}
    assert set(data.test.groups["speaker"].tolist()) == {2}
    assert (len(data.train), len(data.test), data.name) == (30, 14, "spoken without speaker 2")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda: group_tasks(spoken(), "writer"), "not told apart by 'writer', only by speaker; choose another"),
        (lambda: group_tasks(spoken(), "speaker", [[0], [7]]), r"speaker 7 has no training example in spoken,"),
        (lambda: group_tasks(spoken(), "speaker", [[0], []]), r"the tasks have speaker numbers \[\[0\], \[\]\],"),
        (lambda: leave_out(spoken(), 9), r"speaker 9 cannot be left out of \[0, 1, 2, 3\] in spoken; choose one"),
        (lambda: StreamSettings(kind="grouped"), "all classes in each task, expected the scenario domain-incremental"),
        (lambda: StreamSettings(kind="grouped", scenario="domain-incremental", groups=()), "empty, expected the"),
        (lambda: event_images(spoken().train.inputs, EventImages(crop=20)), r"of 40 channels have .*crop 20, expected"),
        (lambda: event_images(spoken().train.inputs, EventImages(polarity="on")), r"events_as.polarity 'on', steady F"),
        (lambda: event_images(CAMERA, EventImages("none")), "events_as.coding is none, expected counts or time"),
        (lambda: event_images(CAMERA, EventImages(pool=3)), r"of 4 x 4 less 0 at each border are 4 x 4, expected"),
        (lambda: event_images(CAMERA, EventImages(crop=2)), r"less 2 at each border are 0 x 0, expected"),
        (lambda: event_images(ONE, EventImages(polarity="on")), r"have 1 channels, expected 2 for events_as.polarity"),
        (lambda: EventImages(tau_ms=0.0), r"events_as.tau_ms is 0.0, expected 0.001 to 1e\+06; 50 is usual"),
        (lambda: EventImages(bin_ms=1e-9), r"events_as.bin_ms is 1e-09, expected 0.001 to 1e\+06; 20 is usual"),
        (lambda: event_images(CAMERA, EventImages("contrast")), r"is contrast, and a camera has no channels; choose"),
        (lambda: event_images(CHANNELS, EventImages(steady=True)), r"of 7 channels have .*steady True and crop 0, exp"),
        (lambda: EventImages(columns=0), r"events_as.columns is 0, expected"),
        (lambda: EventImages("sum"), r"events_as.coding is 'sum', expected one of none, counts, contrast, time"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_of_speakers_and_images_gets_a_sentence(asked, says):
    with pytest.raises(InputError, match=says):
        asked()


def test_a_configuration_groups_by_speaker(monkeypatch, tmp_path):
    monkeypatch.setattr(streams_module, "load", lambda name, folder: spoken())
    stream = group_stream("spoken", groups=[[0, 1], [2, 3]])
    assert (stream.scenario, stream.name) == ("domain-incremental", "spoken, speaker 0,1; speaker 2,3")
    settings = StreamSettings(kind="grouped", groups=((0, 1), (2, 3)), scenario="domain-incremental")
    datasets = Datasets(tmp_path)
    datasets._read = lambda name: spoken()
    again = settings.load("spoken", datasets, 0)
    assert again.name == stream.name
    for one, other in zip(stream.tasks, again.tasks, strict=True):
        assert (numbers(one.train), numbers(one.test)) == (numbers(other.train), numbers(other.test))


CAMERA = Events.of_recordings(
    [([0, 10_000, 10_000, 60_000], [0, 16 + 5, 5, 15]), ([], []), ([7], [16 + 10])], (2, 4, 4)
)  # fmt: skip
ONE = Events.of_recordings([([0], [0])], (1, 4, 4))


def test_counts_are_shares_of_the_brightest_pixels():
    images = event_images(CAMERA, EventImages("counts"))
    assert (images.dtype, images.shape) == (np.uint8, (3, 4, 4))
    full = np.quantile([1, 2, 1], 0.99)
    assert images[0, 1, 1] == 255
    assert images[0, 0, 0] == images[0, 3, 3] == round(255 / full)
    assert (images[0] > 0).sum() == 3
    assert not images[1].any()
    assert np.argwhere(images[2]).tolist() == [[2, 2]]
    for polarity, lit in (("off", [[0, 0], [1, 1], [3, 3]]), ("on", [[1, 1]])):
        assert np.argwhere(event_images(CAMERA, EventImages("counts", polarity=polarity))[0]).tolist() == lit


def test_time_surfaces_fade_from_the_last_event():
    images = event_images(CAMERA, EventImages("time surface", tau_ms=20.0))
    assert images[0, 3, 3] == images[2, 2, 2] == 255
    assert images[0, 1, 1] == round(255 * np.exp(-50 / 20))
    assert images[0, 0, 0] == round(255 * np.exp(-60 / 20))
    assert (images[0] > 0).sum() == 3


def test_images_are_cropped_and_pooled():
    counts = event_images(CAMERA, EventImages("counts", pool=2))
    assert counts.shape == (3, 2, 2)
    assert np.argwhere(counts[0]).tolist() == [[0, 0], [1, 1]]
    cropped = event_images(CAMERA, EventImages("counts", crop=1))
    assert np.argwhere(cropped[0]).tolist() == [[0, 0]]
    assert np.argwhere(cropped[2]).tolist() == [[1, 1]]


CHANNELS = Events.of_recordings(
    [([0, 5_000, 29_999, 30_000, 30_000, 95_000], [0, 2, 1, 4, 6, 1]), ([], [])], (7,)
)  # fmt: skip


def test_channels_are_rows_and_bins_columns():
    images = event_images(CHANNELS, EventImages("counts", columns=3, bin_ms=30.0))
    assert images.shape == (2, 7, 3)
    assert not images[1].any()
    assert np.argwhere(images[0]).tolist() == [[0, 0], [1, 0], [2, 0], [4, 1], [6, 1]]  # none after the last bin
    assert images[0].max() == 255
    pooled = event_images(CHANNELS, EventImages("counts", pool=3, columns=4, bin_ms=30.0))
    assert pooled.shape == (2, 3, 4)
    assert [pooled[0, row, column] > 0 for row, column in ((0, 0), (1, 1), (2, 1), (0, 3))] == [True] * 4
    assert pooled[0, 0, 0] > pooled[0, 1, 1]
    cropped = event_images(CHANNELS, EventImages("counts", crop=2, pool=2, columns=3, bin_ms=30.0))
    assert np.argwhere(cropped[0]).tolist() == [[0, 0], [1, 1]]


def test_time_surfaces_of_channels_are_those_at_the_end_of_each_bin():
    image = event_images(CHANNELS, EventImages("time surface", tau_ms=20.0, columns=3, bin_ms=30.0))[0]
    ages = {0: [30, 60, 90], 1: [0.001, 30.001, 60.001], 4: [None, 30, 60]}
    for row, times in ages.items():
        assert image[row].tolist() == [0 if age is None else round(255 * np.exp(-age / 20)) for age in times]
    assert not image[[3, 5]].any()


def test_bins_of_the_whole_recording_see_neither_delay_nor_tempo():
    times, units = np.array([0, 9, 10, 35, 60, 99]) * 1000, [0, 2, 1, 4, 6, 1]
    said = [(times, units), (times + 70_000, units), (times * 3, units), (times[:1], units[:1]), ([], [])]
    images = event_images(Events.of_recordings(said, (7,)), EventImages("counts", columns=4, bin_ms=5.0, whole=True))
    assert np.argwhere(images[0]).tolist() == [[0, 0], [1, 0], [1, 3], [2, 0], [4, 1], [6, 2]]
    np.testing.assert_array_equal(images[1], images[0])
    np.testing.assert_array_equal(images[2], images[0])
    assert np.argwhere(images[3]).tolist() == [[0, 0]]
    assert not images[4].any()


@pytest.mark.parametrize("whole", [False, True])
def test_contrast_is_what_a_channel_has_above_its_mean(whole):
    rng = np.random.default_rng(0)
    times, units = np.sort(rng.integers(0, 100_000, 300)), rng.integers(0, 6, 300)
    times[times // 20_000 == 2] = 70_000  # a bin without events
    config = EventImages("contrast", pool=2, columns=5, bin_ms=20.0, whole=whole)
    image = event_images(Events.of_recordings([(np.sort(times), units)], (6,)), config)[0]
    first, length = (int(times.min()), (int(times.max() - times.min()) + 1) / 5) if whole else (0, 20_000)
    loud = np.zeros((3, 5))
    for time, unit in zip(times, units, strict=True):
        loud[unit // 2, int((time - first) / length)] += 1
    heard = [column for column in range(5) if loud[:, column].any()]
    loud = np.log(1 + loud * 20_000 / length)
    above = np.zeros((3, 5))
    for column in heard:
        above[:, column] = np.maximum(0, loud[:, column] - loud[:, heard].mean(1))
    wanted = np.rint(255 * np.minimum(1, above / np.quantile(above[above > 0], 0.99)))
    np.testing.assert_array_equal(image, wanted)
    assert not whole or len(heard) == 5 or not image[:, 2].any()


def test_channels_of_one_loudness_have_no_contrast():
    even = Events.of_recordings([([0, 0, 20_000, 20_000], [0, 1, 0, 1])], (2,))
    assert not event_images(even, EventImages("contrast", columns=2)).any()


def test_the_motion_of_the_camera_is_taken_off():
    times = np.array([0, 52_500, 105_000, 157_500, 210_000, 262_500, 315_000, 400_000])
    down, right = saccades(times)
    assert (down + 3.5).tolist() == [0, 3.5, 7, 3.5, 0, 0, 0, 0]
    assert (right + 3.5).tolist() == [0, 1.75, 3.5, 5.25, 7, 3.5, 0, 0]
    places = (10 + np.rint(down)) * 34 + 20 + np.rint(right)
    seen = Events.of_recordings([(times, places.astype(int)), ([105_000], [0])], (2, 34, 34))
    steady, moved = (event_images(seen, EventImages(steady=on, crop=3)) for on in (True, False))
    assert np.argwhere(steady[0]).tolist() == [[7, 17]]
    assert len(np.argwhere(moved[0])) > 1
    assert not steady[1].any()  # it leaves the image


def test_a_dataset_of_a_camera_becomes_one_of_images():
    told = Examples(CAMERA, [0, 1, 0])
    data = Dataset("camera", told, told, (0, 1), "here", validation=told)
    images = image_dataset(data, EventImages("counts"))
    assert images.train.inputs.shape == images.test.inputs.shape == images.validation.inputs.shape == (3, 4, 4)
    assert image_dataset(data, EventImages("none")) is data
    assert image_dataset(images, EventImages("counts")) is images


@pytest.mark.parametrize("network", [SurrogateNetwork, RateLIFNetwork])
def test_networks_of_images_say_what_recordings_need(network, monkeypatch):
    monkeypatch.setattr(streams_module, "load", lambda name, folder: spoken())
    says = r"recordings of units of shape \(40,\), expected images for this network; take a network of recordings"
    with pytest.raises(InputError, match=says):
        network.for_stream(split_stream("spoken", [(0,), (1,)]))


def test_first_spikes_as_recordings_are_those_of_the_coding():
    images = load("digits-sample").test.inputs[::400]
    config = RankOrderConfig()
    events, bins = rank_order_events(images, config, bin_us=500), encode(images, config)
    dense = events.bins(config.total_bins, 500)
    assert dense.sum() == (bins < config.total_bins).sum()
    np.testing.assert_array_equal(np.where(dense.any(1), dense.argmax(1), config.total_bins), bins)


def test_poisson_recordings_have_the_rate_and_repeat():
    images = np.array([[[0, 100], [200, 250]]], np.uint8)
    events = poisson_events(np.concatenate([images, images]), 0.25, steps=40_000, dt_ms=0.1, seed=2)
    one, other = events[:1], events[1:]
    np.testing.assert_array_equal(one.times_us, other.times_us)
    np.testing.assert_array_equal(one.units, other.units)
    counts = np.bincount(one.units, minlength=4)
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:], 4 * 0.25 * np.array([100, 200, 250]), rtol=0.3)
    assert (
        poisson_events(images, steps=400, seed=3).lengths != poisson_events(images, steps=400, seed=4).lengths
    ).any()
    assert stream_key(2, 0, 1) != stream_key(3, 0, 1)
