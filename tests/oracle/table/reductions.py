"""Functions over axes and along one."""

from __future__ import annotations

from table import SAME, call, function
from table.draws import apart, magnitudes, points, uniform

AXES = [
    call(axis=None, keepdims=False),
    call(axis=None, keepdims=True),
    call(axis=1, keepdims=False),
    call(axis=-1, keepdims=True),
    call(axis=(0, 2), keepdims=False),
    call(axis=(-1, 1), keepdims=True),
]


def over_axes(ours, theirs=SAME, *more, draw=uniform, axes=AXES, **options):
    """A reduction over every choice of axes"""
    return function(ours, theirs, *(call(x=draw(2, 3, 4), **a, **options) for a in axes), *more)


def single(**options):
    return call(axis=0, keepdims=False, **options)


ONE_AXIS = [a for a in AXES if isinstance(a["axis"], int)]
SOME_AXES = [a for a in AXES if a["axis"] is not None]
EMPTY = [single(x=uniform(0, 3)), single(x=uniform(3, 0))]
SCALES = [single(x=magnitudes(5, 2, low=low, high=low * 1e3)) for low in (1e-9, 1e6)]

ROWS = [
    over_axes(
        "sum(x, axis=axis, keepdims=keepdims)", SAME, *EMPTY, *SCALES, call(x=uniform(), axis=None, keepdims=False)
    ),
    over_axes("mean(x, axis=axis, keepdims=keepdims)", SAME, *EMPTY[1:], *SCALES, single(x=uniform(1, 2))),
    over_axes("prod(x, axis=axis, keepdims=keepdims)", SAME, *EMPTY, *SCALES, single(x=uniform(1, 2)), axes=ONE_AXIS),
    function(
        "prod(x)", SAME, call(x=uniform(2, 3)), call(x=uniform()), call(x=points(0, 2, -3)), call(x=points(0, 2, 0))
    ),
    over_axes(
        "max(x, axis=axis, keepdims=keepdims)", "amax(x, axis=axis, keepdims=keepdims)", draw=apart, axes=SOME_AXES
    ),
    over_axes(
        "min(x, axis=axis, keepdims=keepdims)", "amin(x, axis=axis, keepdims=keepdims)", draw=apart, axes=SOME_AXES
    ),
    function("max(x)", SAME, call(x=apart(2, 3)), call(x=apart())),
    function("min(x)", SAME, call(x=apart(2, 3)), call(x=apart())),
    *(
        over_axes(
            f"{name}(x, axis=axis, correction=correction, keepdims=keepdims)",
            SAME,
            single(x=uniform(5, 2), correction=1),
            single(x=uniform(5, 2), correction=0.5),
            single(x=uniform(5, 2, low=1000, high=1001), correction=0),
            *(single(x=magnitudes(5, 2, low=low, high=low * 1e3), correction=1) for low in (1e-9, 1e6)),
            correction=0,
        )
        for name in ("var", "std")
    ),
    over_axes(
        "logsumexp(x, axis=axis, keepdims=keepdims)",
        SAME,
        single(x=uniform(5, low=-700, high=700)),
        single(x=points(1000, 999)),
        single(x=points(-1000, -999)),
        single(x=uniform(3, 0)),
        axes=SOME_AXES,
    ),
    *(
        over_axes(
            "vector_norm(x, ord=ord, axis=axis, keepdims=keepdims)",
            "linalg.vector_norm(x, ord, axis, keepdims)",
            single(x=magnitudes(5, low=1e-9, high=1e-6), ord=ord),
            single(x=magnitudes(5, low=1e6, high=1e9), ord=ord),
            draw=apart,
            ord=ord,
        )
        for ord in (1, 2, 3.5, float("inf"), -float("inf"))
    ),
    function(
        "cumulative_sum(x, axis=axis)", "cumsum(x, axis)", *(call(x=uniform(2, 3, 2), axis=a) for a in (0, 1, -1))
    ),
    function("cumulative_sum(x, axis=0)", "cumsum(x, 0)", *(call(x=uniform(*s)) for s in ((5,), (1,), (0, 2)))),
    function(
        "cumulative_sum(x, axis=-1, include_initial=True)",
        "cumsum(nn.functional.pad(x, (1, 0)), -1)",
        *(call(x=uniform(*shape)) for shape in ((5,), (2, 3), (2, 0))),
    ),
    function(
        "cumulative_prod(x, axis=axis)", "cumprod(x, axis)", *(call(x=uniform(2, 3, 2), axis=a) for a in (0, 1, -1))
    ),
    function(
        "cumulative_prod(x, axis=0)",
        "cumprod(x, 0)",
        *(call(x=uniform(*s)) for s in ((5,), (1,), (0, 2))),
        call(x=points(2, 0, -3, 0.5)),
        call(x=points(0, 2, 0, -3)),
    ),
    function(
        "diff(x, axis=axis, n=n)",
        "diff(x, n, axis)",
        call(x=uniform(5), axis=-1, n=1),
        call(x=uniform(4, 2), axis=0, n=2),
        call(x=uniform(2), axis=0, n=3),
        call(x=magnitudes(4, low=1e-6, high=1e6), axis=0, n=1),
    ),
    function(
        "diff(x, prepend=a, append=b)",
        "diff(x, 1, -1, a, b)",
        call(x=uniform(2, 3), a=uniform(2, 1), b=uniform(2, 2)),
    ),
]
