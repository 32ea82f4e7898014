"""An exponential that is the same bit for bit on every processor.

The libraries' own (`numpy.exp`, the C library's) choose a form by the processor's instructions, and these differ in
the last bit. This one is made of single multiplications and additions, which IEEE 754 rounds in one way.
"""

import math
from typing import Any

import numpy as np

_PER_LN2 = 1 / math.log(2)
_LN2_HIGH = 0.693147180369123816490  # its 33 leading bits, so that k times it is exact
_LN2_LOW = 1.90821492927058770002e-10
_LOWEST, _HIGHEST = -1100.0, 709.0
_TERMS = tuple(1 / math.factorial(n) for n in range(13, -1, -1))


def exponential(x: Any) -> Any:
    """Return exp(x) of float64 numbers, to 1e-15 of the true value; x above 709 counts as 709.

    With k = rint(x / ln 2) and r = x - k ln 2: ``2**k (1 + r + r**2/2! + ... + r**13/13!)``.

    Example:
        >>> import numpy as np
        >>> from spikelore.kernels.exponential import exponential
        >>> exponential(np.array([0.0, -1.0, -2000.0])).round(6).tolist()
        [1.0, 0.367879, 0.0]
    """
    x = np.minimum(np.maximum(x, _LOWEST), _HIGHEST)
    k = np.rint(x * _PER_LN2)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = _TERMS[0] + 0.0 * r
    for term in _TERMS[1:]:
        series = series * r + term
    return np.ldexp(series, np.int64(k))
