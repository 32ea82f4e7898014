"""Knowledge fusion by pruning: the most important output units of several networks become one network.

Written against `spikelore.networks.protocol.OutputUnits`. Source: Antonov & Sukhov 2022
(doi 10.1109/ITNT55410.2022.9848660).
"""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikelore.continual import importance as ranking
from spikelore.errors import InputError
from spikelore.kernels.template_stdp.correlation import gains_and_centres
from spikelore.networks.protocol import OutputUnits

Network = TypeVar("Network", bound=OutputUnits)
Budget = Mapping[int, int]
"""OutputUnits to keep of each class."""


def _norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    # a unit of equal weights has no template; the floor keeps its score finite
    return np.maximum(np.sqrt((rows**2).sum(axis=1)), np.finfo(np.float32).eps)


def _centred(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows - rows.mean(axis=1, keepdims=True)


SCORES: dict[str, Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]] = {
    "raw": lambda rows: (np.ones(len(rows)), np.zeros(len(rows))),
    "over sum": lambda rows: (1 / np.maximum(rows.sum(axis=1), np.finfo(np.float32).eps), np.zeros(len(rows))),
    "over norm": lambda rows: (1 / _norms(rows), np.zeros(len(rows))),
    "centred": lambda rows: (np.ones(len(rows)), rows.mean(axis=1)),
    "centred over root norm": lambda rows: (_norms(_centred(rows)) ** -0.5, rows.mean(axis=1)),
    "correlation": gains_and_centres,
}
"""Data-free scales between units: name to (gain, centre) of each unit from its weights (F, inputs).

A unit competes with ``gain (V - centre n)``, n = its input spikes. ``raw`` is what the authors compare.
``correlation`` is, up to a factor that all units at a place share, Pearson's correlation of weights and input.
"""


def scales(weights: NDArray[np.float32], score: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return gain and centre of each of the units (F,...) by a score (a name in `SCORES`)."""
    if score not in SCORES:
        raise InputError(f"score {score!r} is not one of: {', '.join(SCORES)}")
    gains, centres = SCORES[score](weights.reshape(len(weights), -1).astype(np.float64))
    return gains.astype(np.float32), centres.astype(np.float32)


def scaled(network: Network, score: str) -> Network:
    """Return the network with its units competing by another score (a name in `SCORES`)."""
    return network.with_units(network.unit_weights, network.unit_classes, *scales(network.unit_weights, score))


def check_fusible(networks: Sequence[OutputUnits]) -> None:
    """Raise `InputError` unless there are two networks or more with the same features and unit shape, all finite."""
    if len(networks) < 2:
        raise InputError(f"fusion got {len(networks)} network; it needs two or more")
    for n, network in enumerate(networks, start=1):
        if not hasattr(network, "unit_weights"):
            raise InputError(f"network {n} is a {type(network).__name__}, which has no output units; give networks")
        if not np.isfinite(network.unit_weights).all():
            raise InputError(f"network {n} has unit weights that are not finite numbers; train it again")
    first = networks[0]
    for n, other in enumerate(networks[1:], start=2):
        if other.unit_weights.shape[1:] != first.unit_weights.shape[1:]:
            raise InputError(
                f"network {n} has units of shape {other.unit_weights.shape[1:]}, network 1 of "
                f"{first.unit_weights.shape[1:]}; only networks of one shape can be fused"
            )
        if other.features_digest != first.features_digest:
            raise InputError(
                f"network {n} does not share its feature layers with network 1; train it on network 1's "
                "frozen layers (their decision units read the same inputs only then)"
            )


def equal_budgets(networks: Sequence[OutputUnits], size: int) -> list[dict[int, int]]:
    """Share ``size`` units equally among all classes, and each class among the networks that know it.

    A class's odd units go to the earlier networks.

    Raises:
        InputError: a class would get no unit from a network that knows it.
    """
    known = [set(network.unit_classes.tolist()) for network in networks]
    classes = sorted(set().union(*known))
    budgets: list[dict[int, int]] = [{} for _ in networks]
    shares, extra = divmod(size, len(classes))
    for rank, one in enumerate(classes):
        owners = [n for n, classes_known in enumerate(known) if one in classes_known]
        units, odd = divmod(shares + (rank < extra), len(owners))
        if not units:
            raise InputError(
                f"a fused network of {size} units has too few for class {one}, which {len(owners)} networks "
                f"know; allow at least {len(owners) * len(classes)} units"
            )
        for position, n in enumerate(owners):
            budgets[n][one] = units + (position < odd)
    return budgets


def plasticity(budgets: Sequence[Budget], protected: float) -> NDArray[np.float32]:
    """Return 0 for the most important units of a fused network and 1 for all others, (F,).

    Of each network's units of a class, kept in the order of importance, the first ``protected`` (a share) are
    protected while the fused network learns on.

    Args:
        budgets: what the network was fused with.
        protected: 0..1.

    Raises:
        InputError: the share is not 0 to 1.
    """
    if not 0 <= protected <= 1:
        raise InputError(f"protected is {protected}, expected 0 to 1; give the share of units to protect")
    shares: list[NDArray] = [np.zeros(0)]
    for one in sorted(set().union(*budgets)):
        for budget in budgets:
            units = budget.get(one, 0)
            shares.append(np.arange(units) >= round(protected * units))
    return np.concatenate(shares).astype(np.float32)


def _check_budgets(networks: Sequence[OutputUnits], budgets: Sequence[Budget]) -> None:
    if len(budgets) != len(networks):
        raise InputError(f"there are {len(budgets)} budgets for {len(networks)} networks; give one each")
    for n, (network, budget) in enumerate(zip(networks, budgets, strict=True), start=1):
        if not isinstance(budget, Mapping) or not all(isinstance(units, Integral) for units in budget.values()):
            raise InputError(f"budget of network {n} is {budget!r}, expected class: whole number of units; correct it")
        for one, units in budget.items():
            have = int((network.unit_classes == one).sum())
            if not 0 <= units <= have:
                raise InputError(
                    f"budget of network {n} asks for {units} units of class {one}; it has {have} of that class"
                )
    if not any(any(budget.values()) for budget in budgets):
        raise InputError(f"the budgets are {list(budgets)}, expected at least one unit in all; keep some")


def select(network: OutputUnits, importance: NDArray[np.float64], budget: Budget) -> NDArray[np.int64]:
    """Return the units to keep: per class of ``budget`` its most important ones (ties: the lower index)."""
    kept = []
    for one in sorted(budget):
        units = np.flatnonzero(network.unit_classes == one)
        kept.append(units[np.argsort(-importance[units], kind="stable")[: budget[one]]])
    return np.concatenate(kept) if kept else np.empty(0, np.int64)


def _checked_importances(networks: Sequence[OutputUnits], given: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    importances = [np.asarray(each, np.float64) for each in given]
    shapes = [(len(network.unit_classes),) for network in networks]
    if [each.shape for each in importances] != shapes or any(np.isnan(each).any() for each in importances):
        raise InputError(
            f"importances have shapes {[each.shape for each in importances]}, expected {shapes}, numbers that are not "
            "NaN; give each unit of each network one"
        )
    return importances


def _join(networks: Sequence[Network], kept: Sequence[NDArray[np.int64]], score: str) -> Network:
    weights = np.concatenate([net.unit_weights[units] for net, units in zip(networks, kept, strict=True)])
    classes = np.concatenate([net.unit_classes[units] for net, units in zip(networks, kept, strict=True)])
    order = np.argsort(classes, kind="stable")
    return scaled(networks[0].with_units(weights[order], classes[order]), score)


def fuse(
    networks: Sequence[Network],
    *,
    importances: str | Sequence[NDArray[np.float64]] = "top fraction",
    budgets: Sequence[Budget] | None = None,
    size: int | None = None,
    score: str = "raw",
) -> Network:
    """Return one network made of the most important units of several.

    Args:
        networks: two or more with equal feature layers.
        importances: (F,) per network, larger = keep; or the name of one in `importance.FROM_WEIGHTS`:
            ``top fraction`` as published, ``order`` for networks that were consolidated.
        budgets: units to keep, per network and class; `equal_budgets` if not given.
        size: units of the fused network when ``budgets`` is not given; the first network's size if neither is.
        score: how units compete in the fused network, a name in `SCORES`.

    Raises:
        InputError: features not shared, shapes differ, a budget that cannot be met.

    Example:
        >>> from spikelore.continual.fusion import fuse
        >>> from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork
        >>> low = FirstSpikeNetwork.create(FirstSpikeConfig(), classes=(0, 1, 2, 3, 4), seed=0)
        >>> high = low.with_units(low.unit_weights, low.unit_classes + 5)
        >>> one = fuse([low, high])
        >>> len(one.unit_weights), one.classes
        (200, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
    """
    check_fusible(networks)
    if isinstance(importances, str):
        if importances not in ranking.FROM_WEIGHTS:
            raise InputError(f"importance {importances!r} is not one of: {', '.join(ranking.FROM_WEIGHTS)}")
        importances = [ranking.FROM_WEIGHTS[importances](network.unit_weights) for network in networks]
    if budgets is None:
        budgets = equal_budgets(networks, len(networks[0].unit_weights) if size is None else size)
    _check_budgets(networks, budgets)
    importances = _checked_importances(networks, importances)
    kept = [select(*each) for each in zip(networks, importances, budgets, strict=True)]
    return _join(networks, kept, score)


def fuse_by_assignment(a: Network, b: Network, *, score: str = "raw") -> Network:
    """Return one network of two with the same classes, one unit of each Hungarian pair (see `ranking`).

    Raises:
        InputError: features not shared, shapes or classes differ.
    """
    check_fusible([a, b])
    if not np.array_equal(np.unique(a.unit_classes), np.unique(b.unit_classes)):
        raise InputError("fusion by assignment pairs units of one class; both networks must know the same classes")
    kept: tuple[list, list] = ([], [])
    for one in np.unique(a.unit_classes):
        units_a, units_b = (np.flatnonzero(net.unit_classes == one) for net in (a, b))
        from_a, from_b = ranking.assignment(a.unit_weights[units_a], b.unit_weights[units_b])
        kept[0].append(units_a[from_a])
        kept[1].append(units_b[from_b])
    return _join([a, b], [np.concatenate(units) for units in kept], score)


DEAD_SPREAD = 0.4
"""`merge` leaves out a unit whose spread is below this share of its class's well-trained units."""


def merge(
    networks: Sequence[Network],
    *,
    budgets: Sequence[Budget] | None = None,
    size: int | None = None,
    score: str = "correlation",
) -> Network:
    """Return one network whose units are means of similar units, so that little of any unit is thrown away.

    Within each network and class, the units' centred weights are clustered by Ward's method into as many
    clusters as the budget has units; a cluster's mean weights become one unit. OutputUnits that never learned a
    template (spread below `DEAD_SPREAD` times the median spread of the upper half of their class) are left
    out first. Needs no data and no randomness.

    Args:
        networks: two or more with equal feature layers.
        budgets: most units of each network and class; `equal_budgets` if not given.
        size: units of the fused network when ``budgets`` is not given; the first network's size if neither is.
        score: how units compete in the fused network, a name in `SCORES`.

    Raises:
        InputError: features not shared, shapes differ, a budget that cannot be met.
    """
    check_fusible(networks)
    if budgets is None:
        budgets = equal_budgets(networks, len(networks[0].unit_weights) if size is None else size)
    _check_budgets(networks, budgets)
    weights, classes = [], []
    for network, budget in zip(networks, budgets, strict=True):
        for one in sorted(one for one, units in budget.items() if units):
            means = _merged(network.unit_weights[network.unit_classes == one], budget[one])
            weights.append(means)
            classes.append(np.full(len(means), one, np.int64))
    joined, owners = np.concatenate(weights), np.concatenate(classes)
    order = np.argsort(owners, kind="stable")
    return scaled(networks[0].with_units(joined[order], owners[order]), score)


def _merged(weights: NDArray[np.float32], units: int) -> NDArray[np.float32]:
    spread = ranking.spread(weights)
    upper_half = np.sort(spread)[-max(1, len(spread) // 2) :]
    alive = weights[spread >= DEAD_SPREAD * np.median(upper_half)]
    if units == 0 or len(alive) <= units:
        return alive[:units]
    from scipy.cluster.hierarchy import fcluster, ward  # slow to load, and few ask for it

    clusters = fcluster(ward(_centred(alive.reshape(len(alive), -1).astype(np.float64))), units, "maxclust")
    means = [alive[clusters == each].mean(axis=0, dtype=np.float64) for each in np.unique(clusters)]
    return np.array(means, np.float32)


def bagging(networks: Sequence[Network], *, score: str = "raw") -> Network:
    """Return the ensemble as one network of all units: the largest winning score decides."""
    check_fusible(networks)
    return _join(networks, [np.arange(len(network.unit_weights)) for network in networks], score)
