"""Functions that read some places of an array, perhaps several times."""

from __future__ import annotations

from table import SAME, call, function
from table.draws import apart, integers, magnitudes, mask, places, uniform


def indexed(*index):
    return [call(x=uniform(3, 4), index=i) for i in index]


ROWS = [
    function(
        "getitem(x, index)",
        "x[index]",
        *indexed(1, -1, (0, -2), slice(1, None), (slice(None), slice(0, 4, 2)), (slice(0, 0), 1), (..., None, 2), None),
        *indexed(places(2, 0, 2), (places(0, 2, 2), places(1, 3, 3)), (slice(None), places(3, 3, -1)), mask(3, 4)),
        *indexed((mask(3), slice(1, 3)), (integers(2, 1, high=3), integers(1, 3, high=4))),
        call(x=uniform(), index=...),
    ),
    function(
        "take(x, indices, axis=axis)",
        "index_select(x, axis, indices.flatten()).unflatten(axis, indices.shape)",
        call(x=uniform(4), indices=places(3, 0, 3, 3), axis=0),
        call(x=uniform(2, 4), indices=places(1), axis=-1),
        call(x=uniform(3, 2, 2), indices=integers(2, 3, high=3), axis=0),
        call(x=uniform(2, 3), indices=integers(2, 2, high=3), axis=1),
    ),
    function("take(x, indices)", "x[indices]", call(x=uniform(4), indices=places(-1, 0, 3, -4))),
    function(
        "take_along_axis(x, indices, axis=axis)",
        "take_along_dim(x, indices, axis)",
        call(x=uniform(3, 4), indices=integers(3, 2, high=4), axis=-1),
        call(x=uniform(3, 4), indices=integers(5, 4, high=3), axis=0),
        call(x=uniform(3, 4), indices=integers(1, 6, high=4), axis=1),
    ),
    function(
        "scatter_add(updates, indices, n)",
        "updates.new_zeros((n, updates.shape[1])).index_add(0, indices, updates)",
        call(updates=uniform(5, 2), indices=places(0, 3, 3, 0, 3), n=4),
        call(updates=magnitudes(6, 1, low=1e-6, high=1e6), indices=integers(6, high=2), n=2),
        call(updates=uniform(0, 3), indices=places(), n=2),
    ),
    function(
        "sort(x, axis=axis, descending=descending)",
        "sort(x, dim=axis, descending=descending, stable=True).values",
        *(call(x=apart(3, 4), axis=axis, descending=d) for axis in (0, -1) for d in (False, True)),
        call(x=apart(1), axis=0, descending=False),
    ),
    function(
        "nn.functional.one_hot(x, classes)",
        SAME,
        *(call(x=integers(*s, high=4), classes=n) for s, n in (((3,), 4), ((2, 2), 6))),
    ),
    function("nn.functional.one_hot(x)", SAME, call(x=places(0, 2, 2))),
]
