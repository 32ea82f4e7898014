"""Recordings of spikes as files: each format as it is read, and a sentence for each thing that can be wrong."""

import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikelore.data import available, check, findings, load
from spikelore.data.heidelberg import read_heidelberg
from spikelore.data.registry import almost
from spikelore.errors import InputError

RECORDINGS = [([0.0, 0.5, 1.25], [0, 4, 2]), ([], []), ([0.25], [3]), ([0.125, 0.125], [1, 0])]
"""Times in seconds, which float16 holds exactly, and units."""


def write_h5(
    path: Path, recordings=RECORDINGS, labels=(0, 1, 0, 1), speakers=(7, 7, 9, 9), *, kind=np.float16, **options
):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (len(recordings),), h5py.vlen_dtype(kind), **options)
        units = file.create_dataset("spikes/units", (len(recordings),), h5py.vlen_dtype(np.uint16), **options)
        for n, (seconds, places) in enumerate(recordings):
            times[n], units[n] = np.array(seconds, kind), np.array(places, np.uint16)
        file["labels"] = np.array(labels, np.uint16)
        file["extra/speaker"] = np.array(speakers, np.uint16)
        file["extra/keys"] = np.array(["no", "yes"], "S3")
    return path


@pytest.fixture
def spoken(tmp_path):
    for part in ("train", "test"):
        write_h5(tmp_path / "mine" / f"my_{part}.h5")
    return tmp_path


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "options", [{}, {"chunks": (3,)}, {"chunks": (3,), "compression": "gzip"},
                {"chunks": (2,), "compression": "gzip", "shuffle": True}]
)  # fmt: skip
def test_hdf5_recordings_are_what_was_written(tmp_path, options, kind):
    found, names = read_heidelberg(write_h5(tmp_path / "a_train.h5", kind=kind, **options))
    assert found.inputs.times_us.tolist() == [0, 500_000, 1_250_000, 250_000, 125_000, 125_000]
    assert found.inputs.units.tolist() == [0, 4, 2, 3, 1, 0]
    assert found.inputs.lengths.tolist() == [3, 0, 1, 2]
    assert (found.inputs.times_us.dtype, found.inputs.units.dtype) == (np.int32, np.uint16)
    assert (found.labels.tolist(), found.groups["speaker"].tolist(), names) == (
        [0, 1, 0, 1],
        [7, 7, 9, 9],
        {0: "no", 1: "yes"},
    )


def test_many_recordings_of_all_lengths_are_those_that_the_library_reads(tmp_path):
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 4000, 60)
    recordings = [(np.sort(rng.random(n)), rng.integers(0, 700, n)) for n in lengths]
    path = write_h5(tmp_path / "a_train.h5", recordings, np.zeros(60), np.zeros(60))
    found, _ = read_heidelberg(path)
    with h5py.File(path) as file:
        times = np.concatenate(file["spikes/times"][:]).astype(float)
        np.testing.assert_array_equal(found.inputs.times_us, np.rint(times * 1e6))
        np.testing.assert_array_equal(found.inputs.units, np.concatenate(file["spikes/units"][:]))
    assert found.inputs.lengths.tolist() == lengths.tolist()


def test_a_folder_of_hdf5_files_is_a_dataset_with_names_and_speakers(spoken):
    dataset = load("mine", spoken)
    assert (dataset.train.inputs.shape, dataset.classes, dataset.class_names) == ((4, 700), (0, 1), ("no", "yes"))
    assert dataset.validation is None
    (info,) = [one for one in available(spoken) if one.name == "mine"]
    assert (info.train, info.test, info.description) == (4, 4, "HDF5 recordings")
    write_h5(spoken / "mine" / "my_valid.h5", RECORDINGS[:2], (0, 1), (7, 9))
    assert len(load("mine", spoken).validation) == 2
    (result,) = check(spoken, findings)
    assert result.ok
    assert result.message.startswith("4 train and 4 test recordings of 700 units, 2 classes, 2 to 2 train recordings a")
    assert "2 validation recordings; by speaker: 7 has 2, 9 has 2" in result.message
    assert result.notes[0] == "mine: 1 of 4 training recordings have no event; remove them"


def change(path: Path, name: str, values) -> None:
    with h5py.File(path, "a") as file:
        del file[name]
        if values is not None:
            file[name] = values


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"recordings": [([0.0], [701])] * 4}, r"recording 0 has a spike of unit 701, expected 0 to 699; tell another"),
        ({"recordings": [([0.5, 0.25], [1, 2])] * 4}, r"times of recording 0 go back, from 500000.0 to 250000.0 us"),
        ({"recordings": [([-0.5], [1])] * 4}, r"recording 0 has a spike at -500000.0 us, expected 0 to"),
        ({"recordings": [([np.nan], [1])] * 4}, r"recording 0 has a spike at nan us, expected 0 to"),
        ({"recordings": [([0.5, np.nan, 0.75], [1, 1, 1])] * 4}, r"times of recording 0 go back, from 500000.0 to nan"),
        ({"recordings": [([512.0], [1])] * 4}, r"a spike at 512 s, expected at most 100 s; the times look like"),
        ({"recordings": [([3e5], [1])] * 4, "kind": np.float32}, r"look like microseconds: divide them by 1e6"),
        ({"recordings": [([0.5, 0.75], [1])] * 4}, r"has 2 times and 1 units in recording 0, expected as many,"),
        ({"labels": (0, 1, 0)}, r"has labels of uint16 and shape \(3,\), expected \(4,\) whole numbers, one a"),
        ({"kind": np.int32}, r"has spikes/times of type int32, expected ragged floating point numbers, expected"),
    ],
)  # fmt: skip
def test_recordings_that_cannot_be_get_a_sentence(spoken, written, says):
    write_h5(spoken / "mine" / "my_train.h5", **written)
    with pytest.raises(InputError, match=says) as caught:
        load("mine", spoken)
    assert str(spoken / "mine" / "my_train.h5") in str(caught.value)
    (result,) = check(spoken, findings)
    assert (result.ok, result.message) == (False, str(caught.value))


def test_files_of_another_layout_get_a_sentence(spoken):
    path, sound = spoken / "mine" / "my_train.h5", (spoken / "mine" / "my_train.h5").read_bytes()
    for name, values, says in [
        ("labels", None, "has no labels, expected spikes/times, spikes/units and labels as in the Spiking"),
        ("spikes/times", None, "has no spikes/times, expected"),
        ("spikes/times", np.zeros((4, 3)), r"has spikes/times of shape \(4, 3\), expected \(recordings,\) in the file"),
        ("spikes/units", np.zeros(4), "has spikes/units of type float64, expected ragged whole numbers"),
        ("labels", np.array([-1, 0, 1, 1]), "label -1 is negative, expected 0 or more"),
    ]:
        path.write_bytes(sound)
        change(path, name, values)
        with pytest.raises(InputError, match=says):
            load("mine", spoken)
    path.write_bytes(b"no HDF5 file")
    with pytest.raises(InputError, match=r"cannot be read \(.*signature.*\), expected spikes/times"):
        load("mine", spoken)


def test_a_file_that_is_cut_anywhere_gets_a_sentence(spoken):
    path = spoken / "mine" / "my_train.h5"
    content = path.read_bytes()
    for length in range(0, len(content) - 1, len(content) // 60):
        path.write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            load("mine", spoken)
        assert str(caught.value).isprintable()


def test_parts_that_do_not_fit_together_get_a_sentence(spoken):
    write_h5(spoken / "mine" / "my_test.h5", labels=(0, 0, 0, 0))
    with pytest.raises(InputError, match="has recordings of class 1 in its train set only, expected the same classes"):
        load("mine", spoken)
    (spoken / "mine" / "my_test.h5").unlink()
    with pytest.raises(InputError, match="holds HDF5 recordings without a test set, expected one for train and one"):
        load("mine", spoken)
    write_h5(spoken / "mine" / "other_test.h5")
    with pytest.raises(InputError, match=r"holds recordings of several datasets \(my, other\), expected those of one"):
        load("mine", spoken)
    assert not check(spoken)[0].ok


def test_a_sensor_of_ones_own_is_told_beside_the_recordings(spoken):
    (spoken / "mine" / "sensor.json").write_text('{"shape": [5]}')
    assert load("mine", spoken).train.inputs.unit_shape == (5,)
    (spoken / "mine" / "sensor.json").write_text('{"shape": [4]}')
    with pytest.raises(InputError, match="recording 0 has a spike of unit 4, expected 0 to 3"):
        load("mine", spoken)
    for text in ('{"shape": [2, 3, 4]}', '{"shape": 5}', '{"shape": [true]}', "{}", '{"shape": [99999999999]}'):
        (spoken / "mine" / "sensor.json").write_text(text)
        with pytest.raises(InputError, match=r"tells the shape .*, expected 1 whole numbers as in"):
            load("mine", spoken)


def test_one_recording_of_ten_million_events_is_told_of_in_bounded_memory(tmp_path):
    many = np.sort(np.random.default_rng(0).random(10**7)).astype(np.float16), np.zeros(10**7, np.uint16)
    write_h5(tmp_path / "mine" / "my_train.h5", [many, *RECORDINGS])
    for part, recordings in (("train", [*RECORDINGS[:3], many]), ("test", RECORDINGS)):
        write_h5(tmp_path / "mine" / f"my_{part}.h5", recordings)
    (result,) = check(tmp_path, findings)
    assert "mine: training recording 3 has 10,000,000 events, the median 2; see whether it is one" in str(result.notes)


def bin_bytes(events) -> bytes:
    """Return (column, row, polarity, time) as five bytes each."""
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, p, t in events)


CAMERA = {"3/00001.bin": [(0, 1, 0, 5), (33, 2, 1, 70_000)], "1/00002.bin": [(7, 33, 1, 8_388_607)], "3/00000.bin": []}


@pytest.mark.parametrize("packed", [False, True])
def test_recordings_of_five_bytes_an_event_are_read_from_folders_and_archives(tmp_path, packed):
    for part in ("Train", "Test"):
        (tmp_path / "camera").mkdir(exist_ok=True)
        if packed:
            with zipfile.ZipFile(tmp_path / "camera" / f"{part}.zip", "w") as archive:
                for name, events in CAMERA.items():
                    archive.writestr(f"{part}/{name}", bin_bytes(events))
            continue
        for name, events in CAMERA.items():
            path = tmp_path / "camera" / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bin_bytes(events))
    train = load("camera", tmp_path).train
    assert train.labels.tolist() == [1, 3, 3]
    assert train.inputs.lengths.tolist() == [1, 0, 2]
    assert train.inputs.times_us.tolist() == [8_388_607, 5, 70_000]
    assert train.inputs.units.tolist() == [(34 + 33) * 34 + 7, 34, (34 + 2) * 34 + 33]
    (info,) = [one for one in available(tmp_path) if one.name == "camera"]
    assert (info.train, info.test) == (3, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bin_bytes([(0, 0, 0, 0)])[:-1], r"3/00001.bin is cut short: it has 4 bytes, expected a multiple of 5"),
        (bin_bytes([(34, 0, 0, 0)]), r"3/00001.bin has an event at row 0 and column 34, expected a sensor of 34 x 34"),
        (bin_bytes([(0, 0, 0, 9), (0, 0, 0, 8)]), r"times of recording 3/00001.bin go back, from 9 to 8 us"),
    ],
)
def test_files_of_five_bytes_an_event_that_cannot_be_get_a_sentence(tmp_path, content, says):
    for part in ("Train", "Test"):
        path = tmp_path / "camera" / part / "3" / "00001.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        load("camera", tmp_path)


def aedat(events, *, kind: int = 1, overflow: int = 0) -> bytes:
    """Return packets of (valid, polarity, row, column, time)."""
    head = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
    data = b"".join(struct.pack("<II", v | p << 1 | y << 2 | x << 17, t) for v, p, y, x, t in events)
    return head + struct.pack("<hhiiiiii", kind, 0, 8, 4, overflow, len(events), len(events), len(events)) + data


EVENTS = [(1, 1, 2, 127, 100), (0, 1, 0, 0, 110), (1, 0, 127, 3, 250), (1, 1, 5, 6, 300)]


def write_gestures(folder: Path, content: bytes, table: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n, part in enumerate(("train", "test")):
        (folder / f"user0{n + 4}_led.aedat").write_bytes(content)
        (folder / f"user0{n + 4}_led_labels.csv").write_text("class,startTime_usec,endTime_usec\n" + table)
        (folder / f"trials_to_{part}.txt").write_text(f"user0{n + 4}_led.aedat\n")
    (folder / "gesture_mapping.csv").write_text("action,label\nclap,1\nwave,2\n")


def test_gestures_are_cut_out_of_their_recordings(tmp_path):
    special = aedat([(1, 1, 1, 1, 5)], kind=0)[len(aedat([])) - 28 :]
    write_gestures(tmp_path / "hands" / "DvsGesture", aedat(EVENTS) + special, "2,50,260\n1,260,301\n1,400,500\n")
    dataset = load("hands", tmp_path)
    train = dataset.train
    assert (train.labels.tolist(), dataset.class_names, train.groups["user"].tolist()) == (
        [1, 0, 0],
        ("clap", "wave"),
        [4] * 3,
    )
    assert (train.inputs.shape, train.inputs.lengths.tolist()) == ((3, 2, 128, 128), [2, 1, 0])
    assert train.inputs.times_us.tolist() == [50, 200, 40]
    assert train.inputs.units.tolist() == [(128 + 2) * 128 + 127, 127 * 128 + 3, (128 + 5) * 128 + 6]
    assert dataset.test.groups["user"].tolist() == [5] * 3


def test_times_of_gestures_go_on_beyond_31_bits(tmp_path):
    later = aedat([(1, 1, 0, 0, 7)], overflow=1)
    start = 2**31
    write_gestures(tmp_path / "hands", later, f"1,{start},{start + 9}\n")
    assert load("hands", tmp_path).train.inputs.times_us.tolist() == [7]


@pytest.mark.parametrize(
    ("content", "table", "says"),
    [
        (aedat(EVENTS)[:-1], "1,0,9\n", r"user04_led.aedat is cut short or broken at byte \d+, expected whole packets"),
        (b"#!AER-DAT2.0\r\n", "1,0,9\n", r"begins with .* expected #!AER-DAT3.1; give an AEDAT 3.1 file"),
        (b"#!AER-DAT3.1\r\nno header", "1,0,9\n", r"has no line #!END-HEADER, expected one after its header"),
        (aedat([(1, 0, 128, 0, 1)]), "1,0,9\n", r"has an event at row 128 and column 0, expected a sensor of 128 x"),
        (aedat(EVENTS[::-1]), "1,0,9\n", r"user04_led.aedat go back, from 300 to 250 us, expected ascending ones"),
        (aedat(EVENTS), "1,9,9\n", r"has '1,9,9' in line 2, expected class, startTime_usec and endTime_usec, the"),
        (aedat(EVENTS), "one,0,9\n", r"has 'one,0,9' in line 2"),
        (aedat(EVENTS), "", r"has no gesture for train, expected one or more; name files in trials_to_train.txt"),
    ],
)  # fmt: skip
def test_gestures_that_cannot_be_get_a_sentence(tmp_path, content, table, says):
    write_gestures(tmp_path / "hands", content, table)
    with pytest.raises(InputError, match=says):
        load("hands", tmp_path)


def test_a_file_that_a_list_names_must_be_there(tmp_path):
    write_gestures(tmp_path / "hands", aedat(EVENTS), "1,0,400\n")
    (tmp_path / "hands" / "user05_led.aedat").unlink()
    with pytest.raises(
        InputError, match=r"trials_to_test.txt names user05_led.aedat, which is not there; put it there"
    ):
        load("hands", tmp_path)
    (tmp_path / "hands" / "trials_to_test.txt").write_text("../../x.aedat\n")
    with pytest.raises(InputError, match=r"names '../../x.aedat', expected files such as user01_led.aedat; correct it"):
        load("hands", tmp_path)


def test_the_spoken_digits_and_camera_digits_of_the_tests_data(real_data):
    spoken = load("spoken-digits", real_data)
    assert (spoken.train.inputs.shape, spoken.test.inputs.shape) == ((2250, 700), (250, 700))
    assert sorted(set(spoken.train.groups["speaker"].tolist())) == [0, 1, 2, 3, 4]
    camera = load("nmnist-small", real_data)
    assert (camera.train.inputs.shape, camera.test.inputs.shape) == ((1000, 2, 34, 34), (100, 2, 34, 34))
    assert 290_000 < camera.train.inputs.durations_us.min() <= camera.train.inputs.duration_us < 340_000
    assert almost(real_data) == []
