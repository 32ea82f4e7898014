"""What changes of recordings promise: where spikes come from, what falls silent, and who is changed."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spikelore as sl
from spikelore.continual.methods.augment import augment_recordings
from spikelore.errors import InputError
from spikelore.networks.gradient_learning import RecordingAugmentation
from spikelore.networks.recurrent_config import RecurrentConfig

SHARES = st.floats(0.01, 0.6)
SEEDS = st.integers(0, 2**16)
NAMES = [one.name for one in fields(RecordingAugmentation)]


def changed(spikes: torch.Tensor, seed: int, **changes: float) -> torch.Tensor:
    return augment_recordings(spikes, RecordingAugmentation(**changes), torch.Generator().manual_seed(seed))


def sources(count: int, size: int, seed: int, *, along_time: bool, **changes: float) -> list[dict[int, int]]:
    """Return for each recording which place (or step) each place shows, where it shows one."""
    found = changed(torch.eye(size).expand(count, size, size), seed, **changes)
    shown = (found if along_time else found.transpose(1, 2)).nonzero().tolist()
    return [{place: source for one, place, source in shown if one == n} for n in range(count)]


@given(st.sampled_from([(4, 9, 7), (3, 5, 2, 6, 8)]), SEEDS)
def test_nothing_is_changed_by_default_and_spikes_stay_spikes(shape, seed):
    spikes = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4).float()
    assert torch.equal(changed(spikes, seed), spikes)
    everything = dict.fromkeys(NAMES, 0.3)
    found = changed(spikes, seed, **everything)
    assert found.shape == spikes.shape
    assert ((found == 0) | (found == 1)).all()
    assert torch.equal(changed(spikes, seed, **everything), found)


@given(st.sampled_from([("shift", "stretch"), ("delay", "tempo")]), SHARES, SHARES, st.integers(2, 40), SEEDS)
def test_sources_are_on_a_line_of_the_slope_and_the_offset_that_are_allowed(names, offset, slope, size, seed):
    along_time = names[0] == "delay"
    middle = 0 if along_time else (size - 1) / 2
    for one in sources(5, size, seed, along_time=along_time, **{names[0]: offset, names[1]: slope}):
        for place, source in one.items():
            most = abs(place - middle) * slope + offset * size + 0.5
            assert abs(source - place) <= most + 1e-4
        ends = sorted(one)
        if ends:
            assert ends == list(range(ends[0], ends[-1] + 1))  # nothing between falls silent
            steps = np.diff([one[place] for place in ends])
            assert (steps >= np.floor(1 - slope - 1e-5)).all()
            assert (steps <= np.ceil(1 + slope + 1e-5)).all()


@given(st.sampled_from(["shift", "delay"]), SHARES, st.integers(2, 30), SEEDS)
def test_a_shift_alone_moves_all_by_the_same(name, share, size, seed):
    for one in sources(6, size, seed, along_time=name == "delay", **{name: share}):
        moves = {source - place for place, source in one.items()}
        assert len(moves) <= 1
        assert all(len(one) == size - abs(move) for move in moves)


@given(st.sampled_from(["band", "gap"]), SHARES, st.integers(2, 30), SEEDS)
def test_what_falls_silent_is_one_stretch_of_at_most_its_share(name, share, size, seed):
    kept = changed(torch.ones(6, size, size), seed, **{name: share})
    along, across = (2, 1) if name == "band" else (1, 2)
    assert torch.equal(kept.amax(across), kept.amin(across))
    for one in kept.amax(across):
        silent = (one == 0).nonzero().flatten()
        assert len(silent) <= share * size + 1
        assert not len(silent) or int(silent[-1] - silent[0]) + 1 == len(silent)
    assert kept.shape[along] == size


def test_thinning_drops_up_to_its_share_and_as_much_as_the_recording_is_told():
    kept = changed(torch.ones(400, 20, 50), 0, thinning=0.5).mean((1, 2))
    assert kept.min() > 0.45
    assert kept.max() > 0.95
    assert abs(float(kept.mean()) - 0.75) < 0.03


def test_rows_and_columns_of_a_camera_move_apart_and_polarities_together():
    spikes = torch.zeros(30, 4, 2, 21, 31)
    spikes[:, :, :, 10, 15] = 1
    found = changed(spikes, 1, shift=0.2)
    assert torch.equal(found[:, :, 0], found[:, :, 1])
    rows, columns = found[:, 0, 0].amax(2).argmax(1), found[:, 0, 0].amax(1).argmax(1)
    assert len(set(rows.tolist())) > 3
    assert len(set(columns.tolist())) > 3
    assert not torch.equal(rows - 10, columns - 15)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_amounts_that_are_no_shares_are_refused(name, value):
    with pytest.raises(InputError, match=rf"recording_augmentation\.{name} is"):
        RecordingAugmentation(**{name: value})


# Learners ------------------------------------------------------------------------------------------------------------

CHANGES = RecordingAugmentation(shift=0.2, stretch=0.2, delay=0.1, tempo=0.2, thinning=0.3, band=0.2, gap=0.2)
SMALL = RecurrentConfig.best(units=(12,), hidden=(16,), classes=4, steps=10, bin_ms=5.0)
METHODS = [
    sl.Naive(),
    sl.LearningWithoutForgetting(),
    sl.Replay(sl.Memory(images=12)),
    sl.DarkReplay(sl.Memory(bytes=600)),
    sl.Replay(sl.Memory(bytes=600, storage="events")),
    sl.GDumb(sl.Memory(images=12), rehearsal_steps=2),
]


def learner(method: sl.Method, changes: RecordingAugmentation = CHANGES) -> tuple:
    network = sl.RecurrentNetwork(
        SMALL,
        torch.Generator().manual_seed(0),
        learning=sl.GradientLearning(readout="mean", recording_augmentation=changes),
    )
    return network, method.start(network, tasks=2)


def teach(learner, first: int, last: int) -> None:
    for step in range(first, last):
        rng, task = np.random.default_rng(step), step // 3
        labels = rng.integers(2 * task, 2 * task + 2, 8)
        bins = rng.random((8, 10, 12)) < 0.1 + 0.1 * labels[:, None, None]
        if step % 3 == 0:
            learner.begin_task(task, (2 * task, 2 * task + 1))
            learner.begin_epoch(task)
        learner.learn(sl.Events.of_bins(bins, bin_us=5000), labels, task)


@pytest.mark.parametrize(
    "method", METHODS, ids=lambda each: f"{each.name} {each.memory.storage if hasattr(each, 'memory') else ''}"
)
def test_a_restored_learner_draws_the_same_changes(method):
    (_, whole), (_, stopped), (_, restored) = (learner(method) for _ in range(3))
    teach(whole, 0, 6)
    teach(stopped, 0, 4)
    restored.load_state_dict(*stopped.state_dict())
    torch.manual_seed(77)
    teach(restored, 4, 6)
    asked = np.random.default_rng(5).random((6, 10, 12)) < 0.3
    for mine, theirs in zip(whole.state_dict()[0].values(), restored.state_dict()[0].values(), strict=True):
        assert np.array_equal(mine, theirs)
    for each in (whole, restored):
        with each.asked():
            scores = each.scores(asked)
        with each.asked():
            assert torch.equal(each.scores(asked), scores) or method.name == "gdumb"  # what is asked is never changed


def test_recordings_are_changed_where_they_are_learned():
    plain, varied = learner(sl.Naive(), RecordingAugmentation()), learner(sl.Naive())
    bins = np.random.default_rng(0).random((8, 10, 12)) < 0.3
    assert torch.equal(plain[1].to_learn(bins), varied[1].to_input(bins))
    assert not torch.equal(varied[1].to_learn(bins), varied[1].to_input(bins))


def test_a_checkpoint_keeps_them(tmp_path):
    network, _ = learner(sl.Naive())
    network.save(tmp_path / "network.safetensors")
    assert sl.load(tmp_path / "network.safetensors").learning == network.learning


def of_images(learning: sl.GradientLearning) -> sl.SurrogateNetwork:
    return sl.SurrogateNetwork.for_stream(sl.split_stream("digits-sample", [(0, 1)]), learning=learning)


def test_images_have_no_such_changes_nor_recordings_those_of_images():
    network = of_images(sl.GradientLearning(recording_augmentation=CHANGES))
    with pytest.raises(
        InputError, match="recording_augmentation changes recordings of spikes, and a surrogate network"
    ):
        sl.Naive().start(network)
    network, _ = learner(sl.Naive())
    network.learning = sl.GradientLearning(readout="mean", image_augmentation=sl.Augmentation(band=0.5))
    with pytest.raises(InputError, match="image_augmentation changes images, and a recurrent network takes"):
        sl.Naive().start(network)


@pytest.mark.parametrize("form", ["raw", "spikes"])
@pytest.mark.parametrize("changes", [sl.Augmentation(), sl.Augmentation(band=0.9)])
def test_new_and_replayed_images_change_where_the_network_says_so(form, changes):
    images, labels = np.full((6, 28, 28), 255, np.uint8), np.array([0, 1, 0, 1, 0, 1])
    network = of_images(sl.GradientLearning(image_augmentation=changes, input="grey" if form == "raw" else "spikes"))
    learner = sl.Replay(sl.Memory(images=12, storage=form)).start(network, tasks=1)
    learner.begin_task(0, (0, 1))
    learner.begin_epoch(0)
    learner.learn(images, labels, task=0)
    given, shown, (stored, _, _) = learner.to_input(images), learner.to_learn(images), learner.replayed(6)
    assert torch.equal(given, torch.ones_like(given))
    for each in (shown, stored):
        assert bool(each.lt(0.5).any()) == changes.any
        assert form == "raw" or set(each.unique().tolist()) <= {0, 1}


def test_a_network_of_images_keeps_how_it_changes_them(tmp_path):
    network = of_images(sl.GradientLearning(image_augmentation=sl.Augmentation(band=0.9, elastic=0.5)))
    network.save(tmp_path / "network.safetensors")
    assert sl.load(tmp_path / "network.safetensors").learning == network.learning
