"""Products of vectors and matrices, and functions of a matrix."""

from __future__ import annotations

from table import SAME, call, function
from table.draws import apart, magnitudes, uniform

DIAGONAL = "diagonal(x, k, -2, -1)"
MATRICES = [((3, 3), 0), ((2, 4), 1), ((2, 3, 2), -1), ((2, 2), 5)]
EINSUMS = [
    ("ij->ji", (2, 3)),
    ("ij->j", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("i...->...", (2, 3, 2)),
    ("i,i", (3,), (3,)),
    ("i,j->ji", (2,), (3,)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij,ij->i", (2, 3), (2, 3)),
    ("iij,jk->ik", (2, 2, 3), (3, 2)),
    ("...ij,...jk", (2, 2, 3), (1, 3, 2)),
    ("bhtd,bhsd->bhts", (2, 1, 3, 2), (2, 1, 4, 2)),
    ("bi,ijk,bk->bj", (2, 3), (3, 2, 4), (2, 4)),
]

ROWS = [
    function(
        "matmul(a, b)",
        SAME,
        *(
            call(a=uniform(*a), b=uniform(*b))
            for a, b in [
                ((3,), (3,)),
                ((2, 3), (3,)),
                ((3,), (3, 2)),
                ((2, 3), (3, 4)),
                ((3, 3), (3, 3)),
                ((1, 1), (1, 1)),
                ((2, 2, 3), (3, 4)),
                ((2, 3), (4, 3, 2)),
                ((2, 1, 2, 3), (3, 3, 2)),
                ((3,), (2, 3, 2)),
                ((2, 2, 3), (3,)),
                ((0, 3), (3, 2)),
                ((2, 0), (0, 3)),
            ]
        ),
        call(a=magnitudes(3, 4, low=1e-6, high=1e6), b=magnitudes(4, 2, low=1e-6, high=1e6)),
    ),
    function(
        "vecdot(a, b, axis=axis)",
        "linalg.vecdot(a, b, dim=axis)",
        call(a=uniform(4), b=uniform(4), axis=-1),
        call(a=uniform(2, 3), b=uniform(2, 3), axis=-1),
        call(a=uniform(2, 3, 2), b=uniform(1, 3, 2), axis=-2),
        call(a=uniform(2, 0), b=uniform(2, 0), axis=-1),
    ),
    function(
        "tensordot(a, b, axes=axes)",
        "tensordot(a, b, dims=axes)",
        call(a=uniform(2, 3), b=uniform(3, 2), axes=1),
        call(a=uniform(2, 3, 2), b=uniform(3, 2, 2), axes=2),
        call(a=uniform(2), b=uniform(3), axes=0),
        call(a=uniform(2, 3, 4), b=uniform(4, 2), axes=([0, 2], [1, 0])),
    ),
    function("outer(a, b)", SAME, *(call(a=uniform(n), b=uniform(m)) for n, m in ((2, 3), (1, 1), (0, 2)))),
    function(
        "einsum(subscripts, *arrays)",
        SAME,
        *(call(subscripts=text, arrays=[uniform(*s) for s in shapes]) for text, *shapes in EINSUMS),
    ),
    *(
        function(f"{name}(x, offset=k)", f"{text}", *(call(x=uniform(*shape), k=k) for shape, k in MATRICES))
        for name, text in (("diagonal", DIAGONAL), ("trace", f"{DIAGONAL}.sum(-1)"))
    ),
    *(
        function(
            "matrix_norm(x, ord=ord, keepdims=keepdims)",
            "linalg.matrix_norm(x, ord, keepdim=keepdims)",
            call(x=apart(3, 2), ord=ord, keepdims=False),
            call(x=apart(2, 2, 3), ord=ord, keepdims=True),
        )
        for ord in ("fro", 1, -1, float("inf"), -float("inf"))
    ),
]
