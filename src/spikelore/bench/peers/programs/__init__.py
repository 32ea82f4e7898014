"""The works as each library does them; each module runs in its library's own environment, see `worker`.

A module has ``PACKAGES``, whose versions are told, and ``prepare(case, arrays, settings)``, which returns the works of a
case by name. A work is called without arguments, does the same at each call, and returns its results as arrays, which
are compared with ours. A module imports its library, NumPy and its neighbours here, nothing of Spikelore (but
``ours``).
"""
