"""A folder of images becomes a dataset by stated rules, keeps its class names, and may grow."""

import json
import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikelore import cli
from spikelore.data import Imported, class_counts, import_images, load
from spikelore.data import images as importing
from spikelore.data.idx import write_idx
from spikelore.errors import InputError, SpikeloreError


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own folders out of the tests; return the data folder."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda project: tmp_path / "cache")
    monkeypatch.setenv("SPIKELORE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def drawing(number: int, side: int = 28, ink: int = 255, paper: int = 0) -> np.ndarray:
    """A mark whose place and brightness tell which it is."""
    picture = np.full((side, side), paper, np.uint8)
    picture[5 + number % 10 : 12 + number % 10, 6:20] = ink - number if ink > paper else ink + number
    return picture


def save(path: Path, picture: np.ndarray | Image.Image, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)


def folder_of(root: Path, classes=("cat", "dog"), each: int = 10, **kind) -> Path:
    for c, name in enumerate(classes):
        for n in range(each):
            save(root / name / f"{n}.png", drawing(each * c + n, **kind))
    return root


def first_of(dataset, label: int) -> np.ndarray:
    return dataset.train.inputs[dataset.train.labels == label][0]


def kept(made: Imported) -> set[bytes]:
    """Return every image of the test set, with its class's name."""
    dataset = load(made.path.name)
    return {
        dataset.names[int(c)].encode() + i.tobytes()
        for i, c in zip(dataset.test.inputs, dataset.test.labels, strict=True)
    }


def test_images_of_the_right_size_and_background_stay_as_they_are(tmp_path: Path):
    made = import_images(folder_of(tmp_path / "pets"))
    dataset = load("pets")
    assert (dataset.classes, dataset.class_names, dataset.names) == ((0, 1), ("cat", "dog"), {0: "cat", 1: "dog"})
    assert made.class_names == {0: "cat", 1: "dog"}
    assert made.counts["train"] == class_counts(dataset.train.labels)
    assert sum(made.counts["train"].values()) + sum(made.counts["test"].values()) == 20
    assert min(made.counts["test"].values()) >= 1
    for label in (0, 1):
        both = [part.inputs[part.labels == label] for part in (dataset.train, dataset.test)]
        found = {image.tobytes() for image in np.concatenate(both)}
        assert found == {drawing(10 * label + n).tobytes() for n in range(10)}
    assert not made.inverted
    assert "label 0 = cat: " in made.lines[0]


def test_a_white_background_is_inverted_for_the_whole_dataset_and_said(tmp_path: Path):
    folder_of(tmp_path / "pets", ink=0, paper=255)
    save(tmp_path / "pets/dog/0.png", drawing(0))  # one on black among them
    made = import_images(tmp_path / "pets")
    assert made.inverted
    assert any(line.startswith("inverted: the median of the border pixels is 255") for line in made.lines)
    images = np.concatenate([load("pets").train.inputs, load("pets").test.inputs])
    assert (images[:, 0, 0] == 0).sum() == 19
    assert (255 - drawing(3, ink=0, paper=255)).tobytes() in {image.tobytes() for image in images}
    made = import_images(tmp_path / "pets", "other", invert="no")
    assert not made.inverted
    assert any(line.startswith("not inverted, as asked") for line in made.lines)


def grey_of(tmp_path: Path, picture: Image.Image, suffix: str = "png", **options) -> np.ndarray:
    """Return the one image of class 0 as imported beside plain ones, without inverting."""
    root = tmp_path / f"one-{len(list(tmp_path.iterdir()))}"
    for n in range(2):
        save(root / "train/a" / f"{n}.{suffix}", picture, **options)
        save(root / "train/b" / f"{n}.png", drawing(n))
        save(root / "test/a" / f"{n}.{suffix}", picture, **options)
        save(root / "test/b" / f"{n}.png", drawing(n))
    import_images(root, invert="no")
    return first_of(load(root.name), 0)


GREY = drawing(7)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1", "CMYK", "I;16", "I"])
def test_every_mode_becomes_grey_by_luminance(tmp_path: Path, mode: str):
    plain = Image.fromarray(GREY)
    if mode == "1":
        assert grey_of(tmp_path, Image.fromarray(GREY > 100)).tolist() == (255 * (GREY > 100)).tolist()
        return
    picture = Image.fromarray(GREY.astype(np.uint16) * 257) if mode.startswith("I") else plain.convert(mode)
    if mode == "I":
        picture = picture.convert("I")
    suffix = "tif" if mode in ("CMYK", "I") else "png"
    np.testing.assert_array_equal(grey_of(tmp_path, picture, suffix), GREY)


def test_colours_weigh_as_the_eye_sees_them(tmp_path: Path):
    colour = np.zeros((28, 28, 3), np.uint8)
    colour[5:10, :, 0] = colour[10:15, :, 1] = colour[15:20, :, 2] = 255
    found = grey_of(tmp_path, Image.fromarray(colour))
    assert found[[0, 7, 12, 17], 3].tolist() == [0, 76, 150, 29]


@pytest.mark.parametrize(("ink", "background", "inverted"), [(0, "white", True), (255, "black", False)])
def test_what_is_transparent_is_background(tmp_path: Path, ink: int, background: str, inverted: bool):
    for name in ("a", "b"):
        for n in range(6):
            opaque = (drawing(n + 6 * (name == "b")) > 0).astype(np.uint8)
            pixels = np.stack([np.full_like(opaque, ink)] * 3 + [255 * opaque], axis=2)
            save(tmp_path / "pics" / name / f"{n}.png", Image.fromarray(pixels))
    made = import_images(tmp_path / "pics")
    assert made.inverted is inverted
    assert f"transparent parts laid on {background}" in made.lines
    image = first_of(load("pics"), 0)
    assert set(np.unique(image)) == {0, 255}
    assert image[0, 0] == 0


def test_transparent_images_stay_on_what_they_were_laid_on(tmp_path: Path):
    def draw(name: str, ink: int) -> None:
        for n in range(6):
            opaque = (drawing(n) > 0).astype(np.uint8)
            save(
                tmp_path / "pics" / name / f"{n}.png",
                Image.fromarray(np.stack([ink - n + 0 * opaque, 255 * opaque], 2)),
            )

    draw("a", 20)
    draw("b", 40)
    before = kept(import_images(tmp_path / "pics"))
    draw("c", 255)
    draw("d", 255)
    made = import_images(tmp_path / "pics")
    assert "transparent parts laid on white" in made.lines
    assert before <= kept(made)


def test_the_first_frame_upright_as_exif_says(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    np.testing.assert_array_equal(grey_of(tmp_path, Image.fromarray(GREY), exif=exif), np.rot90(GREY, -1))
    frames = [Image.fromarray(drawing(n)) for n in (7, 1, 2)]
    found = grey_of(tmp_path, frames[0], "gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(found, GREY)


def test_other_sizes_keep_their_aspect_ratio(tmp_path: Path):
    wide = np.full((10, 40), 30, np.uint8)
    wide[:, 10:30] = 200
    found = grey_of(tmp_path, Image.fromarray(wide))
    assert found.shape == (28, 28)
    rows = np.flatnonzero((found > 100).any(axis=1))
    assert (rows[0], rows[-1]) == (10, 16)  # 7 rows for 28 columns, in the middle
    assert found[0, 0] == found[13, 0] == 30  # filled with its own background
    checks = np.indices((280, 280)).sum(axis=0) % 2 * 255
    found = grey_of(tmp_path, Image.fromarray(checks.astype(np.uint8)))
    assert abs(found.astype(int) - 127).max() <= 2  # antialiased: no moire


def test_a_size_of_its_own(tmp_path: Path):
    import_images(folder_of(tmp_path / "pets"), size=(20, 30))
    assert load("pets").train.inputs.shape[1:] == (20, 30)


def test_classes_in_natural_order_and_whole_numbers_are_labels(tmp_path: Path):
    import_images(folder_of(tmp_path / "mixed", ("10", "b2", "b10", "2"), 4))
    assert load("mixed").class_names == ("2", "10", "b2", "b10")
    import_images(folder_of(tmp_path / "numbers", ("7", "300", "12"), 4))
    numbers = load("numbers")
    assert (numbers.classes, numbers.class_names) == ((7, 12, 300), ("7", "12", "300"))
    both = [part.inputs[part.labels == 300] for part in (numbers.train, numbers.test)]
    assert {image.tobytes() for image in np.concatenate(both)} == {drawing(n).tobytes() for n in range(4, 8)}
    folder_of(tmp_path / "numbers", ("007",), 4)
    with pytest.raises(InputError, match="folders 007 and 7 are the same number"):
        import_images(tmp_path / "numbers", "again")


def test_more_classes_come_after_the_old_ones_and_nothing_moves(tmp_path: Path, data: Path):
    root = folder_of(tmp_path / "pets", ("dog", "eel"), 12, ink=0, paper=250)
    made = import_images(root, size=20, test_share=0.3, seed=5)
    before = kept(made)
    (data / "pets/mine.txt").write_text("kept")
    folder_of(root, ("ant",), 3, ink=255)  # bright ones of its own: not decided anew
    made = import_images(root)
    assert load("pets").names == {0: "dog", 1: "eel", 2: "ant"}
    assert made.inverted
    assert {one for one in kept(made) if not one.startswith(b"ant")} == before
    assert load("pets").train.inputs.shape[1:] == (20, 20)
    assert (data / "pets/mine.txt").read_text() == "kept"
    with pytest.raises(InputError, match=r"was imported with size \(20, 20\), not \(28, 28\)"):
        import_images(root, size=28)
    (root / "dog").rename(tmp_path / "away")
    with pytest.raises(InputError, match="no folder for class 'dog', which the dataset has"):
        import_images(root)
    assert load("pets").names == {0: "dog", 1: "eel", 2: "ant"}


def test_a_small_class_keeps_its_division_when_it_grows(tmp_path: Path):
    root = folder_of(tmp_path / "pets", each=2)
    for count in range(3, 12):
        before = kept(import_images(root))
        folder_of(root, each=count)
        for n, name in enumerate(("cat", "dog")):  # the first files stay what they were
            for earlier in range(count):
                save(root / name / f"{earlier}.png", drawing(20 * n + earlier))
        if count > 3:
            assert before <= kept(import_images(root))


def test_the_division_follows_content_not_names(tmp_path: Path):
    before = kept(import_images(folder_of(tmp_path / "pets", each=20)))
    for n in range(20):
        (tmp_path / "pets/cat" / f"{n}.png").rename(tmp_path / "pets/cat" / f"renamed-{20 - n}.png")
    assert kept(import_images(tmp_path / "pets")) == before
    assert kept(import_images(tmp_path / "pets", "other", seed=1)) != before


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Testing"), ("train", "val")])
def test_folders_that_are_divided_already(tmp_path: Path, names: tuple[str, str]):
    root = tmp_path / "pets"
    for part, each in zip(names, (5, 2), strict=True):
        folder_of(root / part, each=each)
    made = import_images(root)
    assert made.counts == {"train": {0: 5, 1: 5}, "test": {0: 2, 1: 2}}


def test_validation_images_beside_test_images_are_for_training(tmp_path: Path):
    for part, each in (("train", 5), ("val", 3), ("test", 2)):
        folder_of(tmp_path / "pets" / part, each=each, ink=255 - each)
    made = import_images(tmp_path / "pets")
    assert made.counts == {"train": {0: 8, 1: 8}, "test": {0: 2, 1: 2}}
    assert any("train for training, val for training, test for testing" in line for line in made.lines)


def test_what_is_left_out_is_said(tmp_path: Path):
    root = folder_of(tmp_path / "pets")
    (root / "cat/note.txt").write_text("x")
    (root / "cat/broken.png").write_bytes((root / "cat/0.png").read_bytes()[:50])
    (root / "cat/copy.png").write_bytes((root / "cat/0.png").read_bytes())
    save(root / "cat/eleven.png", drawing(10))  # a dog's
    save(root / "cat/float.tif", Image.fromarray(GREY.astype(np.float32)))
    Image.new("L", (9, 9)).save(root / "cat/program.png", "EPS")  # would be read by another program
    (root / "cat/gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(root / "cat/pipe.png")
    for name in (".DS_Store", "cat/Thumbs.db", "cat/.hidden.png", "loose.png"):
        (root / name).write_text("x")
    (root / "empty").mkdir()
    (root / "cat/loop").symlink_to(root / "cat")
    save(root / "cat/deeper/more.png", drawing(30))
    made = import_images(root)
    told = "\n".join(made.lines)
    assert made.counts["train"][0] + made.counts["test"][0] == 12  # with the one in a folder deeper down
    for part in (
        "not an image: cat/note.txt, cat/program.png", "a broken image: cat/broken.png",
        "floating-point pixels, whose range is not known: cat/float.tif",
        "the same file as another of its class: cat/copy.png", "1 image is in more than one class",
        "unreadable: cat/gone.png", "no regular file: cat/pipe.png",
        "left out the folder 'empty': no files", "left out 1 files that are in no class folder, such as 'loose.png'",
    ):  # fmt: skip
        assert part in told
    assert "DS_Store" not in told
    assert "hidden" not in told


def test_names_of_every_alphabet(tmp_path: Path):
    decomposed = unicodedata.normalize("NFD", "é")
    folder_of(tmp_path / "pics", (decomposed, "日本 \x1b[31m"), 4)
    made = import_images(tmp_path / "pics")
    assert load("pics").class_names[0] == "é"
    assert "\x1b" not in "".join(made.lines)


def test_a_wrapping_folder_is_looked_into(tmp_path: Path):
    folder_of(tmp_path / "pics/pics")
    assert "the classes were found in" in import_images(tmp_path / "pics").lines[2]
    assert load("pics").class_names == ("cat", "dog")
    folder_of(tmp_path / "one.class", ("cat",))
    save(tmp_path / "one.class/cat/deeper/1.png", drawing(40))
    with pytest.raises(InputError, match="images of one class only, 'cat'"):
        import_images(tmp_path / "one.class")
    folder_of(tmp_path / "one.class", ("dog",))
    assert import_images(tmp_path / "one.class").path.name == "one.class"


def test_arrays_as_keras_leaves_them(tmp_path: Path):
    images = np.stack([drawing(n, paper=0) for n in range(6)])
    np.savez(tmp_path / "own.npz", x_train=images, y_train=[3, 4] * 3, x_test=images[:2, ..., None], y_test=[[3], [4]])
    made = import_images(tmp_path / "own.npz")
    np.testing.assert_array_equal(load("own").train.inputs, images)
    assert load("own").classes == (3, 4)
    assert made.counts["test"] == {3: 1, 4: 1}
    import_images(tmp_path / "own.npz", "small", size=14)
    assert load("small").test.inputs.shape == (2, 14, 14)
    np.savez(tmp_path / "other.npz", images=images)
    with pytest.raises(
        InputError, match="has no array x_train, only images, expected x_train, y_train, x_test, y_test"
    ):
        import_images(tmp_path / "other.npz")
    np.savez(tmp_path / "float.npz", x_train=images / 255, y_train=[3] * 6, x_test=images, y_test=[3] * 6)
    with pytest.raises(InputError, match=r"x_train are float64 from 0 to 1, expected"):
        import_images(tmp_path / "float.npz")


def wrong_folders(root: Path) -> dict[str, tuple[Path, str]]:
    for name in ("empty", "empty-classes/a", "empty-classes/b", "one/.git"):
        (root / name).mkdir(parents=True)
    save(root / "loose/1.png", drawing(1))
    folder_of(root / "one", ("cat",))
    folder_of(root / "few", each=1)
    folder_of(root / "broken", each=3)
    for n in range(3):
        (root / "broken/cat" / f"{n}.png").write_text("x")
    write_idx(root / "idx/train-images-idx3-ubyte", np.zeros((2, 3, 3), np.uint8))
    (root / "pics.zip").write_bytes(b"PK\3\4")
    (root / "pics.txt").write_text("x")
    folder_of(root / "mnist")
    return {
        "not there": (root / "nothing", "does not exist, expected a folder"),
        "empty": (root / "empty", "holds nothing to read, expected a sub-folder of images a class"),
        "empty classes": (root / "empty-classes", "holds 2 empty sub-folders"),
        "no sub-folder": (root / "loose", "holds 1 files, such as '1.png', and no sub-folder"),
        "one class": (root / "one", "images of one class only, 'cat'"),
        "one image": (root / "few", "class 'cat' has 1 image that can be read and none for the t"),
        "no image that can be read": (root / "broken", r"class 'cat' has 0 images.*left out 3 files, not an image"),
        "IDX files": (root / "idx", "holds IDX files, so it is a dataset already"),
        "an archive": (root / "pics.zip", "is an archive.*unpack it"),
        "a file": (root / "pics.txt", "is a file"),
        "a known name": (root / "mnist", "'mnist' is the name of a known dataset"),
    }


WRONG = ("not there", "empty", "empty classes", "no sub-folder", "one class", "one image", "no image that can be read",
         "IDX files", "an archive", "a file", "a known name")  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_folder_of_classes_gets_a_sentence_and_writes_nothing(tmp_path: Path, data: Path, case: str):
    source, says = wrong_folders(tmp_path / "wrong")[case]
    with pytest.raises(InputError, match=says) as caught:
        import_images(source)
    assert "\n" not in str(caught.value)
    assert not data.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "../x"}, "cannot be named '../x'"),
        ({"name": ".x"}, "cannot be named"),
        ({"size": 0}, r"size is \(0, 0\)"),
        ({"size": (28,)}, "expected rows and columns"),
        ({"invert": "maybe"}, "invert is 'maybe'"),
        ({"test_share": 1.0}, "test_share is 1.0"),
    ],
)
def test_options_without_a_meaning(tmp_path: Path, options: dict, says: str):
    with pytest.raises(InputError, match=says):
        import_images(folder_of(tmp_path / "pets", each=2), **options)


def test_a_folder_that_was_not_imported_is_not_touched(tmp_path: Path, data: Path):
    (data / "pets").mkdir(parents=True)
    (data / "pets/mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is there already and was not made by .* another --name"):
        import_images(folder_of(tmp_path / "pets"))
    assert os.listdir(data / "pets") == ["mine.txt"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch):
    root = folder_of(tmp_path / "pets")
    import_images(root)
    before = {file.name: file.read_bytes() for file in (data / "pets").iterdir()}
    folder_of(root, ("eel",))

    def fail(*_):
        raise OSError(28, "No space left on device")

    for place in ("write_idx", "write_json_atomic"):
        with monkeypatch.context() as patched:
            patched.setattr(importing, place, fail)
            with pytest.raises(SpikeloreError, match=r"No space left on device; what was there is as before"):
                import_images(root)
    with monkeypatch.context() as patched:  # the very last step
        rename = Path.rename
        patched.setattr(Path, "rename", lambda self, to: fail() if self.name == "fresh" else rename(self, to))
        with pytest.raises(SpikeloreError, match="as before"):
            import_images(root)
    assert {file.name: file.read_bytes() for file in (data / "pets").iterdir()} == before
    assert os.listdir(data) == ["pets"]


def command(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["spikelore", *map(str, words)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    return int(done.value.code or 0)


def test_the_command(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    folder_of(tmp_path / "pics", ink=0, paper=255)
    assert command(monkeypatch, "data", "import", tmp_path / "pics", "--name", "pets", "--size", "20x24") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("label 0 = cat: ")
    assert out[-1] == f"dataset pets is in {data / 'pets'}"
    assert load("pets").train.inputs.shape[1:] == (20, 24)
    assert json.loads((data / "pets/classes.json").read_text()) == {"0": "cat", "1": "dog"}
    assert command(monkeypatch, "data", "check") == 0
    assert "2 classes" in (checked := capsys.readouterr().out)
    assert "0 cat, 1 dog" in checked
    assert command(monkeypatch, "data", "list") == 0
    assert "cat, dog" in " ".join(capsys.readouterr().out.split())
    assert command(monkeypatch, "data", "import", tmp_path / "pics", "--size", "big") == 2
    assert "--size is 'big', expected rows x columns" in capsys.readouterr().err
