"""The works as each library does them; each module runs in its library's own environment, see `worker`.

A module has ``PACKAGES``, whose versions are told, and ``prepare(case, arrays, settings)``, which returns the works of
a case by name, see `types`. It imports its library, NumPy and its neighbours here; only ``ours`` and ``limits`` run in
the environment that the benchmark was started from.
"""
