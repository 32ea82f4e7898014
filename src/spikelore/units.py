"""Time at the boundary is in milliseconds or hertz, inside in steps; only this module converts."""


def ms_to_steps(duration_ms: float, dt_ms: float) -> int:
    """Return how many steps of ``dt_ms`` fill ``duration_ms`` (rounded to the nearest step).

    Raises:
        ValueError: ``dt_ms`` is not positive or ``duration_ms`` is negative.
    """
    if not dt_ms > 0:
        raise ValueError(f"dt_ms is {dt_ms}; a time step is positive")
    if not duration_ms >= 0:
        raise ValueError(f"duration_ms is {duration_ms}; a duration is not negative")
    return round(duration_ms / dt_ms)


def hz_to_probability(rate_hz: float, dt_ms: float) -> float:
    """Return the probability of a spike in one step: ``rate_hz * dt_ms / 1000``, at most 1."""
    if not (rate_hz >= 0 and dt_ms > 0):
        raise ValueError(f"rate_hz is {rate_hz} and dt_ms is {dt_ms}; a rate is not negative, a step is positive")
    return min(1.0, rate_hz * dt_ms / 1000.0)
