"""Functions that move values."""

from __future__ import annotations

from table import SAME, call, function
from table.draws import places, uniform


def moved(ours, theirs, *calls):
    """A function of the array `x` of the first entry's shape, with the options that follow"""
    return function(ours, theirs, *(call(x=uniform(*shape), **options) for shape, options in calls))


ROWS = [
    moved(
        "reshape(x, shape)",
        SAME,
        ((2, 3), call(shape=(6,))),
        ((2, 3), call(shape=(3, -1))),
        ((1,), call(shape=())),
        ((0, 2), call(shape=(2, 0, 1))),
    ),
    moved(
        "broadcast_to(x, shape)",
        SAME,
        ((3,), call(shape=(2, 3))),
        ((2, 1), call(shape=(3, 2, 4))),
        ((), call(shape=(2, 2))),
        ((1, 2), call(shape=(0, 2))),
    ),
    moved(
        "permute_dims(x, axes)",
        "permute(x, axes)",
        ((2, 3, 4), call(axes=(2, 0, 1))),
        ((2, 3), call(axes=(-1, 0))),
        ((), call(axes=())),
    ),
    moved("matrix_transpose(x)", "x.mT", ((2, 3), {}), ((2, 1, 3), {}), ((0, 2), {})),
    moved(
        "moveaxis(x, source, destination)",
        SAME,
        ((2, 3, 4), call(source=0, destination=-1)),
        ((2, 3, 4), call(source=(0, 2), destination=(1, 0))),
    ),
    moved("expand_dims(x, axis=axis)", "unsqueeze(x, axis)", *(((2, 3), call(axis=a)) for a in (0, 1, -1))),
    moved("squeeze(x, axis)", SAME, ((1, 3), call(axis=0)), ((2, 1, 3, 1), call(axis=(1, -1)))),
    moved(
        "flip(x, axis=axes)",
        "flip(x, axes)",
        ((2, 3), call(axes=(0,))),
        ((2, 3), call(axes=(1, 0))),
        ((0,), call(axes=(0,))),
    ),
    moved(
        "roll(x, shift, axis=axis)",
        "roll(x, shift, axis)",
        ((5,), call(shift=2, axis=0)),
        ((2, 3), call(shift=-4, axis=1)),
        ((2, 3), call(shift=(1, 2), axis=(0, 1))),
    ),
    moved("roll(x, shift)", SAME, ((2, 3), call(shift=2))),
    *(
        moved(f"{name}(x, k=k)", f"{name}(x, k)", *(((3, 4), call(k=k)) for k in (0, -1, 2)), ((2, 3, 2), call(k=1)))
        for name in ("tril", "triu")
    ),
    moved(
        "tile(x, repetitions)",
        SAME,
        ((2, 3), call(repetitions=(2,))),
        ((2,), call(repetitions=(3, 2))),
        ((2, 1), call(repetitions=(0, 2))),
    ),
    moved(
        "repeat(x, repeats, axis=axis)",
        "repeat_interleave(x, repeats, axis)",
        ((2, 3), call(repeats=2, axis=1)),
        ((2, 3), call(repeats=2, axis=None)),
        ((3, 2), call(repeats=places(2, 0, 3), axis=0)),
    ),
    function(
        "concat(arrays, axis=axis)",
        SAME,
        call(arrays=[uniform(2, 3), uniform(1, 3)], axis=0),
        call(arrays=[uniform(2, 1), uniform(2, 0), uniform(2, 2)], axis=-1),
        call(arrays=[uniform(3)], axis=0),
    ),
    function(
        "stack(arrays, axis=axis)",
        SAME,
        call(arrays=[uniform(2, 3), uniform(2, 3)], axis=0),
        call(arrays=[uniform(2, 3), uniform(2, 3)], axis=-1),
        call(arrays=[uniform(), uniform(), uniform()], axis=0),
    ),
    moved("unstack(x, axis=axis)", "unbind(x, axis)", ((2, 3), call(axis=0)), ((2, 3, 2), call(axis=-2))),
    function(
        "meshgrid(a, b, indexing=order)", SAME, *(call(a=uniform(2), b=uniform(3), order=o) for o in ("xy", "ij"))
    ),
    function(
        "broadcast_arrays(a, b)",
        "broadcast_tensors(a, b)",
        call(a=uniform(2, 1), b=uniform(3)),
        call(a=uniform(), b=uniform(0)),
    ),
    moved("astype(x, float32)", "x.to(float32)", ((2, 3), {}), ((), {})),
    moved("asarray(x)", "x.clone()", ((2, 3), {})),
    moved("to_device(x, 'cpu')", "x.to('cpu')", ((2, 3), {})),
]
