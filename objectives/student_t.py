"""Student's t distribution with whole degrees of freedom, in closed form."""

import math
from itertools import accumulate
from statistics import NormalDist


def central_share(t: float, freedom: int) -> float:
    """Probability that |T| is at most ``t`` >= 0. Abramowitz & Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    factors = (cosine**2 * k / (k + 1) for k in range(1 + odd, freedom - 2, 2))
    terms = accumulate(factors, lambda term, factor: term * factor, initial=1.0)
    if not odd:
        return sine * math.fsum(terms)
    series = cosine * sine * math.fsum(terms) if freedom > 1 else 0.0
    return 2 / math.pi * (angle + series)


def two_sided_p(t: float, freedom: int) -> float:
    """Probability of a |T| above ``t`` >= 0, to about 1e-15: what is smaller is 0."""
    return max(0.0, 1 - central_share(t, freedom))


def quantile(confidence: float, freedom: int) -> float:
    """The ``t`` that |T| stays within with this probability, by Newton's method.

    Raises:
        ValueError: ``0 < confidence < 1`` or ``freedom >= 1`` does not hold.
    """
    if not 0 < confidence < 1 or freedom < 1:
        raise ValueError(
            "`0 < confidence < 1` and `freedom >= 1` must hold, "
            f"but got confidence={confidence}, freedom={freedom}."
        )
    # The normal quantile lies below the root and the share is concave: it is met from below.
    t = NormalDist().inv_cdf((1 + confidence) / 2)
    step = math.inf
    while step > 1e-12 * t:
        step = (confidence - central_share(t, freedom)) / (2 * _density(t, freedom))
        t += step
    return t


def _density(t: float, freedom: int) -> float:
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    log = scale - (freedom + 1) / 2 * math.log1p(t * t / freedom)
    return math.exp(log) / math.sqrt(freedom * math.pi)
