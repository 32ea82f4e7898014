"""Small run folders as the experiments leave them, for the tests of reports."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spikelore.coding.rank_order import RankOrderConfig
from spikelore.files import save_tensors, write_json_atomic


def write_run(folder: Path, results: dict[str, Any], config: dict[str, Any]) -> None:
    """Write what every finished run has."""
    write_json_atomic(folder / "results.json", results)
    write_json_atomic(folder / "environment.json", {"versions": {}, "platform": "Linux-test", "cores": 2})
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def write_metrics(folder: Path, lines: list[dict[str, Any]]) -> None:
    """Write ``metrics.jsonl``."""
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


# Fusion -------------------------------------------------------------------------------------------------

CLASSES = (0, 1, 7)
UNITS = 6
FILTERS = [{"size": one.size, "sigma_1": one.sigma_1, "sigma_2": one.sigma_2} for one in RankOrderConfig().filters]


def row(name: str, letters: str, base: float, importance=None, score="raw", preset="published", features=UNITS):
    values = {letter: round(base + 0.01 * n, 5) for n, letter in enumerate(letters)}
    mean = round(sum(values.values()) / len(values), 5)
    known = {"name": name, "preset": preset, "importance": importance, "score": score}
    return {**known, **values, "mean": mean, "silent": 0.0, "features": features}


def fused(letters: str, base: float, preset: str, features=UNITS):
    kept = {"published": ("top fraction", "raw"), "best": ("spread", "correlation")}[preset]
    return row("fused", letters, base, *kept, preset, features)


def fusion_run(folder: Path, *, seed=0, shift=0.0, data=("digits", "letters"), silent=0, extras=True) -> Path:
    """Write a run folder as the fusion experiment leaves it, small; ``extras`` are metrics and arrays."""
    rng = np.random.default_rng(seed)
    letters = "abc"[: len(data)]
    both = len(data) * UNITS
    rows = [row(f"network {letter}", letters, 0.4 + shift) for letter in letters]
    rows += [
        row("bagging", letters, 0.7123 + shift, features=both),
        fused(letters, 0.6234 + shift, "published"),
    ]
    rows += [row("bagging", letters, 0.8111 + shift, None, "correlation", "best", both)]
    rows += [fused(letters, 0.8456 + shift, "best")]
    comparison = [
        row(
            "bagging" if kept is None else "fused",
            letters,
            0.1 * n + 0.05 * m + shift,
            kept,
            score,
            "comparison",
        )
        for n, score in enumerate(("raw", "correlation"))
        for m, kept in enumerate(("top fraction", "activity", None))
    ]
    curve = [fused(letters, 0.5 + 0.02 * size, preset, size) for size in (3, 6, 12) for preset in ("published", "best")]
    training = [
        {
            "network": letter, "best_epoch": 2, "train": 0.9712 + shift, "validation": 0.96, "test": 0.9333,
            "silent": 0.0, "test_last_epoch": 0.95, "train_last_epoch": 0.97,
        }
        for letter in letters
    ]  # fmt: skip
    results = {
        "experiment": "fusion", "seed": seed, "seconds": 85.3, "data": list(data),
        "versions": {"python": "3.11.7", "numpy": "2.4.6"}, "rows": rows, "comparison": comparison,
        "curve": curve, "training": training,
    }  # fmt: skip
    network = {"coding": {"filters": FILTERS}, "layer_1": {"pool": 2}, "layer_2": {"pool": 3}}
    config = {"experiment": "fusion", "seed": seed, "network": network}
    write_run(folder, results, config)
    if extras:
        lines = [
            {"stage": "decision", "network": letter, "epoch": epoch, "train": 0.3 * epoch,
             "validation": 0.2 * epoch, "silent": silent / 100, **({"first": 0.1} if letter != "a" else {})}
            for letter in letters for epoch in (1, 2, 3)
        ]  # fmt: skip
        write_metrics(folder, lines)
        save_tensors(folder / "arrays.safetensors", make_arrays(rng, letters, silent), {})
    return folder


def make_arrays(rng: np.random.Generator, letters: str, silent: int) -> dict[str, np.ndarray]:
    def weights(*shape: int) -> np.ndarray:
        return rng.uniform(0.2, 0.8, shape).astype(np.float32)

    arrays = {"weights_1": weights(5, 6, 5, 5), "weights_2": weights(7, 5, 3, 3)}
    for letter in letters:
        arrays[f"activity/{letter}"] = rng.integers(0, 40, UNITS).astype(np.float64)
        arrays[f"unit_weights/{letter}"] = weights(UNITS, 7, 5, 5)
        arrays[f"unit_classes/{letter}"] = np.repeat(CLASSES, UNITS // len(CLASSES))
        for kind in ("full_sum", "top_fraction", "spread"):
            arrays[f"{kind}/{letter}"] = rng.uniform(1, 2, UNITS)
        for name in (f"network {letter}", "fused"):
            counts = rng.integers(0, 30, (len(CLASSES), len(CLASSES) + 1))
            counts[:, -1] = silent
            counts[1] = 0
            arrays[f"confusion/{name} on {letter}"] = counts
            arrays[f"classes/{name} on {letter}"] = np.array(CLASSES)
    return arrays


# Decay --------------------------------------------------------------------------------------------------

SETS = ("white", "blurred", "known", "unknown")
DECAY_NETWORK = {
    "weight_max": 0.05, "dt_ms": 0.5, "active_ms": 20.0, "threshold_mode": "hold", "threshold_rest_mv": -52.0,
}  # fmt: skip


def decay_results(scale=1.0):
    spikes = {"white": 1000, "blurred": 2000, "known": 400, "unknown": 300}
    left = {"white": 0.0, "blurred": 0.002, "known": 0.9, "unknown": 0.5}
    after = {name: round(scale * spikes[name] * left[name]) for name in SETS}
    shares = {"accuracy": 0.9, "validation": 0.9, "unrecognised": 0.01, "faded": 0.1}
    return {
        "experiment": "decay",
        "data": ["mnist 7,4", "unknown 9"],
        "seed": 0,
        "rows": [
            {
                "preset": "best", "method": "unused decay, online", "set": name, "spikes_without": spikes[name],
                "spikes_with": after[name], "left": after[name] / spikes[name],
            }
            for name in SETS
        ],
        "accuracy": [
            {"preset": "best", "decay": "without", "accuracy": 0.9, "unrecognised": 0.01},
            {"preset": "best", "decay": "with", "accuracy": 0.95, "unrecognised": 0.02},
        ],
        "methods": [
            {"preset": "best", "method": "none", "spikes": spikes, **shares},
            {"preset": "best", "method": "unused decay, online", "spikes": after, **shares, "accuracy": 0.95},
        ],
    }  # fmt: skip


def decay_arrays():
    rng = np.random.default_rng(0)
    kept = {"best/classes": np.array([7, 7, 4, 4]), "best/shape": np.array([3, 3]), "best/label": np.array([4])}
    kept["best/fired"] = np.array([1, 5, 9, 2])
    for when in ("without", "with"):
        kept[f"best/weights/{when}"] = rng.uniform(0, 0.05, (9, 4))
        for image in ("known", "white"):
            stem = f"best/{image}/{when}"
            silent = image == "white" and when == "with"
            kept[f"{stem}/input_spikes"] = np.array([[1, 0], [7, 8]])
            kept[f"{stem}/exc_spikes"] = np.empty((0, 2), np.int64) if silent else np.array([[5, 2], [20, 2], [9, 0]])
            kept[f"{stem}/inh_spikes"] = kept[f"{stem}/exc_spikes"]
            kept[f"{stem}/time_ms"] = np.arange(20.0)
            kept[f"{stem}/exc_potential_mv"] = rng.uniform(-65, -52, (20, 4))
            kept[f"{stem}/adaptive_threshold_mv"] = rng.uniform(-52, -45, (20, 4))
    return kept


def decay_metrics():
    shares = {"train": 0.5, "silent": 0.0, "mean_weight": 0.02, "faded": 0.1, "histogram": [3, 2, 1, 0]}
    return [
        {"training": name, "images": images, **shares}
        for name in ("best_without", "best_with", "best_l2_6e+06")
        for images in (500, 1000)
    ]


def decay_run(folder: Path) -> Path:
    """Write a run folder as the decay experiment leaves it, small."""
    results = {**decay_results(), "seconds": 30.0, "versions": {"python": "3.11.7"}}
    write_run(folder, results, {"experiment": "decay", "best": {"network": DECAY_NETWORK}})
    write_metrics(folder, decay_metrics())
    save_tensors(folder / "arrays.safetensors", decay_arrays(), {})
    return folder


# Replay -------------------------------------------------------------------------------------------------


def replay_run(folder: Path, *, seed: int = 0, images: int = 40, label: str = "", shift: float = 0.0) -> Path:
    """Write a run folder as the replay experiment leaves it, small: a learner without a memory and one with."""
    rows = [
        {
            "scenario": scenario, "method": method, "preset": preset, "memory_images": memory,
            "memory_bytes": 50 * memory,
            "seed": seed, "classes": [0, 1, 2, 3], "label": label * bool(memory), "storage": "raw" * bool(memory),
            "accuracy_matrix": [[0.99, None], [last, 0.97]], "average_accuracies": [0.99, (last + 0.97) / 2],
            "average_accuracy": (last + 0.97) / 2, "forgetting": 0.99 - last, "backward_transfer": last - 0.99,
            "spikes_per_image": 812.5, "synops_per_image": 400_000.0 + 100 * memory, "seconds": 2.0,
        }
        for scenario in ("class-incremental", "task-free")
        for method, preset, memory, last in (
            ("naive", "baseline", 0, 0.125 + shift), ("experience replay", "best", images, 0.75 + shift),
        )
    ]  # fmt: skip
    results = {
        "experiment": "replay", "seed": seed, "seconds": 5.0, "data": ["digits-sample"],
        "versions": {"python": "3.11.7"}, "rows": rows,
    }  # fmt: skip
    write_run(folder, results, {"experiment": "replay", "seed": seed, "memory": {"images": images}})
    counts = np.diag([9, 8, 7, 6]) + 1
    arrays = {f"confusion/{task}/{n}": np.pad(counts, ((0, 0), (0, 1))) for task in range(2) for n in range(len(rows))}
    save_tensors(folder / "arrays.safetensors", arrays, {})
    return folder
