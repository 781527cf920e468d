"""What every function refuses: for each error that its docstring names, calls that must raise it.

Families that refuse the same things (elementwise functions, reductions, creation) are generated from their signatures.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from functools import partial

import numpy as np
from functions import ALL
from nlp_kernels.dispatch import BACKENDS

import tinygrad_nlp as tn
from tinygrad_nlp import AnomalyError, AxisError, BackendError, DeviceError, DtypeError, FreedGraphError, ShapeError
from tinygrad_nlp.ops import comparison, creation, reduction, searching, sets

X, OTHER, FLAG, WHOLE = np.arange(1.0, 7.0).reshape(2, 3), np.ones((4, 5)), np.ones((2, 3), bool), np.ones((2, 3), int)
A = np.ones((1, 1, 2, 3))
NO_ARRAYS = ("a", object(), np.full((2, 3), "a"), {1})

MISTAKES: dict[str, dict[type, list]] = defaultdict(lambda: defaultdict(list))


def refuses(name, error, *args, **params):
    MISTAKES[name][error].append(partial(getattr(tn, name), *args, **params))


def parameters(name):
    return inspect.signature(getattr(tn, name)).parameters


def refuses_no_arrays(name, *rest, no=NO_ARRAYS):
    for x in no:
        refuses(name, DtypeError, x, *rest)


ELEMENTWISE = [f.name for f in ALL if f.broadcasts and f.name != "where"] + comparison.__all__
for _name in ELEMENTWISE:
    _n = len(parameters(_name))
    for _i in range(_n):
        for _x in NO_ARRAYS if _name == "clip" and _i else (*NO_ARRAYS, None):
            refuses(_name, DtypeError, *(_x if j == _i else WHOLE for j in range(_n)))
        if _n > 1:
            refuses(_name, ShapeError, *(WHOLE if j == _i else np.ones((4, 5), int) for j in range(_n)))
for _name in "sigmoid log_sigmoid negative positive conj real sign".split():
    refuses(_name, DtypeError, FLAG)
refuses("subtract", DtypeError, FLAG, FLAG)
refuses("where", ShapeError, FLAG, X, OTHER)
for _x in (*NO_ARRAYS, None):
    refuses("where", DtypeError, FLAG, X, _x)
    refuses("where", DtypeError, FLAG, _x, X)
refuses("where", DtypeError, "a", X, X)
for _name in (n for n in comparison.__all__ if n.startswith("bitwise")):
    refuses(_name, DtypeError, *[X] * len(parameters(_name)))

OVER_AXES = [*reduction.__all__, "all", "any", "argmax", "argmin", "count_nonzero"]
for _name in (*OVER_AXES, "cumulative_sum", "cumulative_prod", "diff", "sort", "argsort", "softmax", "log_softmax"):
    for _axis in (2, -3, 50):
        refuses(_name, AxisError, X, axis=_axis)
    refuses_no_arrays(_name)
    refuses(_name, DtypeError, X, axis="a")
    if "dtype" in parameters(_name):
        refuses(_name, DtypeError, X, axis=0, dtype="nonsense")
for _name in ("max", "min", "argmax", "argmin"):
    refuses(_name, ShapeError, np.ones((0, 3)), axis=0)
refuses("vector_norm", DtypeError, X, ord="fro")
for _name in ("cumulative_sum", "cumulative_prod"):
    refuses(_name, ShapeError, X)
refuses("diff", ShapeError, X, prepend=OTHER)
refuses("diff", ValueError, X, n=-1)
refuses("diff", DtypeError, FLAG)
for _name in ("softmax", "log_softmax"):
    refuses(_name, ShapeError, X, keep=OTHER > 0)
    refuses(_name, DtypeError, X, keep=X)
    refuses(_name, DtypeError, WHOLE)
    refuses(_name, ValueError, X, temperature=0.0)

CREATION = {
    **dict.fromkeys(("zeros", "ones", "empty", "eye"), (2,)),
    "full": (2, 1.0), "arange": (3,), "linspace": (0, 1, 3), "asarray": ([1.0],), "full_like": ([1.0], 2.0),
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like"), ([1.0],)),
}  # fmt: skip
for _name, _args in CREATION.items():
    refuses(_name, DtypeError, "a", *_args[1:])
    for _dtype in ("nonsense", object):
        refuses(_name, DtypeError, *_args, dtype=_dtype)
    for _device in ("tpu", "cuda:x"):
        refuses(_name, DeviceError, *_args, device=_device)
for _name in ("zeros", "ones", "empty", "eye", "full"):
    refuses(_name, ShapeError, -1, *CREATION[_name][1:])
    refuses(_name, DtypeError, 1.5, *CREATION[_name][1:])
refuses("full", DtypeError, 2, "a")
refuses("full_like", DtypeError, [1.0], "a")
refuses("linspace", ShapeError, 0, 1, -1)
refuses("arange", ShapeError, 0, 3, 0)
refuses_no_arrays("asarray")
refuses("asarray", ShapeError, [[1.0, 2.0], [3.0]])
refuses("asarray", ValueError, [1.0], copy=False)
refuses("asarray", RuntimeError, [tn.Tensor(1.0, requires_grad=True)])
refuses("from_dlpack", DtypeError, 1.0)
refuses("from_dlpack", DeviceError, X, device="tpu")
refuses("from_dlpack", RuntimeError, tn.Tensor(1.0, requires_grad=True))
refuses("to_device", DeviceError, X, "tpu")
refuses_no_arrays("to_device", "cpu")
assert {*creation.__all__} == {*CREATION, "from_dlpack", "to_device"}

refuses("finfo", DtypeError, tn.int8)
refuses("finfo", DtypeError, "nonsense")
refuses("iinfo", DtypeError, tn.float32)
refuses("isdtype", DtypeError, X, "bool")
refuses("isdtype", ValueError, tn.int8, "nonsense")
refuses("result_type", DtypeError, "nonsense")
refuses("result_type", ValueError)
for _pair in (("nonsense", tn.int8), (tn.int8, "nonsense"), (3, tn.int8)):
    refuses("can_cast", DtypeError, *_pair)

refuses("cross_entropy", ShapeError, X, [0])
refuses("cross_entropy", ShapeError, 1.0, 0)
refuses("cross_entropy", IndexError, X, [0, 3])
refuses("cross_entropy", DtypeError, X, [0.0, 1.0])
refuses("cross_entropy", DtypeError, WHOLE, [0, 1])
refuses("cross_entropy", ValueError, X, [0, 1], label_smoothing=2.0)
refuses("linear", ShapeError, X, OTHER)
refuses("linear", ShapeError, X, X, X)
refuses("linear", ShapeError, X, X, None, OTHER)
refuses("linear", DtypeError, WHOLE, WHOLE)
refuses("linear", DtypeError, X, None)
refuses("linear", ValueError, X, X, activation="swish")
refuses("layer_norm", ShapeError, X, X[0], OTHER)
refuses("layer_norm", ShapeError, X, X[0], X[0], OTHER)
refuses("layer_norm", DtypeError, WHOLE, WHOLE[0], WHOLE[0])
refuses("layer_norm", DtypeError, X, None, None)
refuses("attention", ShapeError, X, X, X, dropout=0.5)
refuses("attention", ShapeError, A, A[..., :2], A)
refuses("attention", ShapeError, *[np.ones((1, heads, 2, 2)) for heads in (3, 2, 2)])
refuses("attention", IndexError, A, A, A, None, [9])
refuses("attention", DtypeError, *[A.astype(int)] * 3)
refuses("attention", DtypeError, A, A, A, np.ones((2, 2)))
refuses("attention", ValueError, A, A, A, dropout=1.0)
refuses("embedding", IndexError, X, [2])
refuses("embedding", IndexError, X, [0], padding_idx=2)
refuses("embedding", ShapeError, X[0], [0])
refuses("embedding", DtypeError, X, [0.5])
refuses("embedding", DtypeError, WHOLE, [0])
refuses("dropout", ValueError, X, 1.5)
refuses_no_arrays("dropout", 0.5)

for _index in (2, -3, "a", 1.5, (0, 0, 0), OTHER > 0, np.asarray([0.5])):
    refuses("getitem", IndexError, X, _index)
refuses_no_arrays("getitem", 0)
refuses("take", AxisError, X, [0], axis=2)
refuses("take", ShapeError, X, [0])
refuses("take", IndexError, X, [3], axis=1)
refuses("take", DtypeError, X, [0.5], axis=0)
refuses("scatter_add", ShapeError, X, [0], 3)
refuses("scatter_add", IndexError, X, [0, 3], 3)
refuses("scatter_add", DtypeError, X, [0.0, 1.0], 3)
refuses("take_along_axis", AxisError, X, WHOLE, axis=2)
refuses("take_along_axis", ShapeError, X, [0])
refuses("take_along_axis", IndexError, X, 3 * WHOLE)
refuses("take_along_axis", DtypeError, X, X)
refuses("nonzero", ShapeError, 1.0)
refuses_no_arrays("nonzero")
refuses("searchsorted", ShapeError, X, [1.0])
refuses("searchsorted", ValueError, X[0], [1.0], side="middle")
refuses_no_arrays("searchsorted", [1.0])
for _name in sets.__all__:
    refuses_no_arrays(_name)

for _name in ("matmul", "vecdot", "tensordot", "outer"):
    refuses(_name, ShapeError, X, OTHER)
    refuses_no_arrays(_name, X)
refuses("vecdot", AxisError, X, X, axis=2)
refuses("matmul", DtypeError, X, None)
refuses("tensordot", ValueError, X, X, axes="ab")
refuses("tensordot", ValueError, X, X, axes=([0], [0], [0]))
refuses("einsum", ShapeError, "ij,jk->ik", X, X)
refuses("einsum", DtypeError, X, X)
refuses("einsum", DtypeError, "ij", "a")
for _name in ("diagonal", "trace", "matrix_norm", "tril", "triu"):
    refuses(_name, ShapeError, X[0])
    refuses_no_arrays(_name)
for _name, _param in (("diagonal", "offset"), ("trace", "offset"), ("tril", "k"), ("triu", "k"), ("trace", "dtype")):
    refuses(_name, DtypeError, X, **{_param: "nonsense"})
refuses("matrix_norm", ValueError, X, ord="nuc")

for _name, _good, _errors in (
    ("reshape", (3, 2), {ShapeError: [(4, 5), (-1, -1)], DtypeError: ["a", 1.5]}),
    ("broadcast_to", (2, 3), {ShapeError: [(4, 5), (-1, 3)], DtypeError: ["a", None]}),
    ("permute_dims", (1, 0), {ShapeError: [(0,), (0, 0)], DtypeError: ["a", None]}),
    ("expand_dims", 0, {AxisError: [5, -4], DtypeError: ["a", 1.5]}),
    ("squeeze", 0, {AxisError: [5], ShapeError: [0], DtypeError: ["a"]}),
    ("tile", (2,), {ShapeError: [(-1,)], DtypeError: [2, (1.5,)]}),
    ("repeat", 2, {ShapeError: [-1, [1, 2]]}),
    ("astype", tn.float32, {DtypeError: ["nonsense", object]}),
    ("roll", 1, {}),
    ("flip", None, {}),
    ("unstack", None, {ShapeError: []}),
    ("matrix_transpose", None, {}),
):
    refuses_no_arrays(_name, *[_good] * (_good is not None))
    for _error, _bad in _errors.items():
        for _x in _bad:
            refuses(_name, _error, X, _x)
for _name in ("flip", "unstack"):
    refuses(_name, AxisError, X, axis=2)
    refuses(_name, DtypeError, X, axis="a")
refuses("reshape", ShapeError, X.T, (6,), copy=False)
refuses("repeat", AxisError, X, 2, axis=2)
refuses("astype", DeviceError, X, tn.float32, device="tpu")
refuses("roll", AxisError, X, 1, axis=2)
refuses("roll", ShapeError, X, (1, 2, 3), axis=(0, 1))
refuses("unstack", ShapeError, 1.0)
refuses("matrix_transpose", AxisError, X[0])
refuses("moveaxis", AxisError, X, 5, 0)
refuses("moveaxis", DtypeError, X, "a", 0)
refuses_no_arrays("moveaxis", 0, 0)
refuses("broadcast_arrays", ShapeError, X, OTHER)
refuses_no_arrays("broadcast_arrays", X)
refuses("meshgrid", ShapeError, X, X)
refuses("meshgrid", ValueError, X[0], indexing="yx")
refuses_no_arrays("meshgrid")
for _name in ("concat", "stack"):
    refuses(_name, ShapeError, [X, OTHER])
    refuses(_name, AxisError, [X, X], axis=5)
    refuses(_name, ValueError, [])
    refuses(_name, DtypeError, [X, "a"])
    refuses(_name, DtypeError, [X], axis=1.5)


def of_leaf(call):
    """A call with a leaf and its square, which a sweep may consume."""

    def run():
        x = tn.Tensor(X, requires_grad=True)
        call(x, x * x)

    return run


def swept_twice(x, y):
    tn.grad(y, x, X)
    tn.grad(y, x, X)


def star(*xs):
    return xs


def named_y(y):
    return y


def exp_of_infinity():
    with tn.detect_anomaly():
        tn.exp(tn.Tensor([np.inf]))


MISTAKES["grad"] = {
    ShapeError: [of_leaf(lambda x, y: tn.grad(y, x)), of_leaf(lambda x, y: tn.grad(y, x, OTHER))],
    RuntimeError: [
        of_leaf(lambda x, y: tn.grad(y, tn.Tensor(X), X)),
        of_leaf(lambda x, y: tn.grad(y, tn.Tensor(X, requires_grad=True), X)),
    ],
    FreedGraphError: [of_leaf(swept_twice)],
    DtypeError: [of_leaf(lambda x, y: tn.grad(3.0, x)), of_leaf(lambda x, y: tn.grad(y, x, "a"))],
}
_TRANSFORMS = {"value_and_grad": (), "hessian": (), "jacobian": (), "vjp": (X,), "jvp": (X,), "hvp": (X,)}
for _name, _rest in _TRANSFORMS.items():
    refuses(_name, DtypeError, tn.sum, WHOLE, *_rest)
    refuses(_name, DtypeError, lambda x: 3.0, X, *_rest)
    if _name != "jacobian":
        refuses(_name, ShapeError, tn.square, X, *(OTHER for _ in _rest))
for _name in ("jvp", "hvp"):
    refuses(_name, ShapeError, tn.sum, X, (X, X))
refuses("hvp", ShapeError, tn.square, X, X)
refuses("jacobian", DtypeError, lambda x: (x, x), X)
refuses("checkpoint", DtypeError, lambda x: 3.0, X)
refuses("primitive", TypeError, star)
refuses("primitive", TypeError, lambda x: x)
refuses("primitive", ValueError, named_y)
MISTAKES["detect_anomaly"] = {AnomalyError: [exp_of_infinity]}
for _seed in (-1, 1.5, "a", 2**64):
    refuses("manual_seed", ValueError, _seed)
for _threads in (0, "a"):
    refuses("set_num_threads", ValueError, _threads)
refuses("backends", BackendError, "nonsense")
refuses("use_backend", BackendError, "nonsense")
for _mode in ("no", None, 0):
    refuses("use_deterministic_algorithms", DtypeError, _mode)
refuses("register_backend", BackendError, "nonsense", "mine", None)
refuses("register_backend", BackendError, "softmax", BACKENDS[0], None)
refuses("register_backend", BackendError, "softmax", "mine", None)
assert not {*searching.__all__} - {*MISTAKES}
