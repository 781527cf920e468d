"""Declared kinks: the derivative lies between the slopes from the left and from the right, where the convention says.

relu'(0) = 0, abs'(0) = 0, ties of two share equally: a checker that calls these wrong, or that cannot see them, is of
no use for half of the functions of deep learning.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygrad_nlp.autograd.checking.errors import GradientError
from tinygrad_nlp.autograd.checking.oracles import one_sided
from tinygrad_nlp.autograd.checking.subject import Arrays, Subject, flat

Convention = str | Callable[[float, float], float]

CONVENTIONS: dict[str, Callable[[float, float], float] | None] = {
    "between": None,
    "zero": lambda left, right: 0.0,
    "mean": lambda left, right: (left + right) / 2,
    "left": lambda left, right: left,
    "right": lambda left, right: right,
}


def check_kinks(subject: Subject, xs: Arrays, gs: Arrays, dxs: Arrays, convention: Convention) -> Arrays:
    """Masks of the elements at a kink; GradientError where the derivative is not what the convention says.

    Each element moves alone. With cotangent g the slopes are those of <g, f>.
    """
    expected = CONVENTIONS[convention] if isinstance(convention, str) else convention
    eps = float(np.finfo(subject.dtype).eps)
    g, y0, masks = flat(gs), flat(subject.values(xs)), []
    for i, x in enumerate(xs):
        mask = np.zeros(x.shape, bool)
        for place in np.ndindex(x.shape):
            step = max(1.0, float(abs(x[place])))

            def y(t, i=i, place=place, step=step):
                moved = xs[i].copy()
                moved[place] += t * step
                return flat(subject.values([*xs[:i], moved, *xs[i + 1 :]]))

            left, right = one_sided(y, y0, eps)
            low, high = float(np.minimum(g * left, g * right).sum()), float(np.maximum(g * left, g * right).sum())
            noise = 16 * eps**0.75 * (float(np.abs(g * y0).sum()) + abs(low) + abs(high))
            if high - low <= 1e-4 * (abs(low) + abs(high)) + noise:
                continue
            mask[place] = True
            ours = float(dxs[i][place]) * step
            slopes = float(g @ left), float(g @ right)
            wanted = None if expected is None else float(expected(slopes[0] / step, slopes[1] / step)) * step
            inside = low - noise <= ours <= high + noise
            if inside and (wanted is None or abs(ours - wanted) <= 1e-4 * (high - low) + noise):
                continue
            rule = f"it must lie in [{low / step:.6g}, {high / step:.6g}]"
            if inside and wanted is not None:
                rule = f"by the convention kinks={convention!r} it is {wanted / step:.6g}"
            raise GradientError(
                f"{subject.name}: at a kink, the gradient by {subject.names[i]}{list(place)} is {ours / step:.6g}; the "
                f"slopes are {slopes[0] / step:.6g} from the left and {slopes[1] / step:.6g} from the right: {rule}",
                argument=subject.names[i],
                order=subject.order,
                diagnosis="not between the one-sided slopes" if not inside else "not what the convention says",
            )
        masks.append(mask)
    return masks
