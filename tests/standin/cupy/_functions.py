"""Which of NumPy's functions the stand-in has under CuPy's names, and the few that CuPy has its own way with."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from cupy._array import ndarray
from cupy._call import around, call, effect, from_host, index_of, new
from cupy._machine import machine
from cupy._memory import MemoryPointer, UnownedMemory

UFUNCS = (
    "abs absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_or bitwise_xor ceil "
    "copysign cos cosh deg2rad divide equal exp exp2 expm1 fabs floor floor_divide fmax fmin fmod gcd greater "
    "greater_equal heaviside hypot invert isfinite isinf isnan lcm ldexp left_shift less less_equal log log10 log1p "
    "log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor maximum minimum multiply negative "
    "nextafter not_equal positive power rad2deg reciprocal remainder right_shift rint sign signbit sin sinh sqrt "
    "square subtract tan tanh true_divide trunc"
)
FUNCTIONS = (
    "all amax amin angle any argmax argmin around average bincount broadcast_arrays broadcast_to concatenate conj "
    "conjugate convolve count_nonzero cross cumprod cumsum diag diagflat diagonal diff dot einsum expand_dims flip "
    "fliplr flipud hstack imag inner interp isclose isin kron max mean median meshgrid min moveaxis nan_to_num "
    "nansum outer pad prod ptp ravel real reshape roll rollaxis rot90 round squeeze stack std sum swapaxes tensordot "
    "tile trace transpose tril triu tri var vdot vstack where column_stack atleast_1d atleast_2d hsplit split vsplit "
    "array_split permute_dims clip array_equal allclose searchsorted"
)
WAITING = "argwhere flatnonzero nonzero unique extract union1d intersect1d setdiff1d"  # the values decide the shape
ABOUT = "shape ndim size iinfo finfo can_cast promote_types issubdtype isdtype isscalar broadcast_shapes"  # no values
NAMES = "bool_ int8 int16 int32 int64 intp intc uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128"
NAMES += " dtype generic number integer signedinteger unsignedinteger inexact floating complexfloating newaxis"
NAMES += " pi e inf nan euler_gamma"
_ABSENT = {"initial", "where", "subok", "like", "mode"}  # parameters of NumPy's that CuPy lacks


class ufunc:
    """An elementwise function; its operands are device arrays and scalars, one of them an array."""

    def __init__(self, name: str):
        self.name, self._function = name, getattr(np, name)
        self.nin, self.nout, self.nargs = self._function.nin, self._function.nout, self._function.nargs

    def __repr__(self):
        return f"<ufunc '{self.name}'>"

    def __call__(self, *args, out=None, dtype=None, casting="same_kind"):
        if len(args) > self.nin:
            *args, out = args
        for x in args:
            if not isinstance(x, ndarray | bool | int | float | complex | np.generic):
                raise TypeError(f"Unsupported type {type(x)}")
        return call(self._function, *args, out=out, dtype=dtype, casting=casting)

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        return call(self._function.reduce, array, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def accumulate(self, array, axis=0, dtype=None, out=None):
        return call(self._function.accumulate, array, axis=axis, dtype=dtype, out=out)

    def outer(self, a, b):
        return call(self._function.outer, a, b)

    def at(self, a, indices, b=None):
        given: list[Any] = []
        host, indices = a._host, index_of(indices, given)
        more = () if b is None else (index_of(b, given) if isinstance(b, ndarray) else b,)
        call(lambda: None)  # a machine that fails, fails here too
        effect(lambda: self._function.at(host, around(indices, host.shape), *more))


def function(name: str):
    theirs = getattr(np, name)

    def ours(*args, **params):
        if refused := _ABSENT & params.keys():
            raise TypeError(f"{name}() got an unexpected keyword argument {refused.pop()!r}")
        if name in WAITING.split():
            machine.synchronises()
        if name in ("concatenate", "stack", "vstack", "hstack") and not all(isinstance(x, ndarray) for x in args[0]):
            raise TypeError("Only cupy arrays can be concatenated")
        if name in ("concatenate", "stack") and len(args[0]) > 8:
            from_host([x.data.ptr for x in args[0]])  # CuPy sends their addresses
        return call(theirs, *args, **params)

    ours.__name__ = name
    return ours


def about(name: str):
    """A function of shapes and dtypes: what it says is the host's."""
    theirs = getattr(np, name)
    return lambda *args, **params: theirs(*(x._host if isinstance(x, ndarray) else x for x in args), **params)


def empty(shape, dtype=float, order="C"):
    return new(_sizes(shape), dtype, order)


def zeros(shape, dtype=float, order="C"):
    return full(shape, 0, dtype, order)


def ones(shape, dtype=float, order="C"):
    return full(shape, 1, dtype, order)


def full(shape, fill_value, dtype=None, order="C"):
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, ndarray) else np.array(fill_value).dtype
    x = new(_sizes(shape), dtype, order)
    x.fill(fill_value)
    return x


def empty_like(prototype, dtype=None, order="K", subok=None, shape=None):
    fortran = order == "K" and prototype.flags.fnc and shape is None
    return empty(prototype.shape if shape is None else shape, dtype or prototype.dtype, "F" if fortran else "C")


def zeros_like(a, dtype=None, order="K", subok=None, shape=None):
    return full_like(a, 0, dtype, order, subok, shape)


def ones_like(a, dtype=None, order="K", subok=None, shape=None):
    return full_like(a, 1, dtype, order, subok, shape)


def full_like(a, fill_value, dtype=None, order="K", subok=None, shape=None):
    x = empty_like(a, dtype, order, subok, shape)
    x.fill(fill_value)
    return x


def arange(start, stop=None, step=1, dtype=None):
    return call(np.arange, *((start,) if stop is None else (start, stop)), step=step, dtype=dtype)


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    return call(np.linspace, start, stop, num, endpoint=endpoint, retstep=retstep, dtype=dtype, axis=axis)


def eye(N, M=None, k=0, dtype=float, order="C"):
    return call(np.eye, N, M, k, dtype=dtype, order=order)


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    if isinstance(obj, list | tuple) and any(isinstance(x, ndarray) for x in obj):
        obj = call(np.stack, [x if isinstance(x, ndarray) else from_host(x) for x in obj])
    if not isinstance(obj, ndarray):
        return from_host(np.array(obj, ndmin=ndmin), dtype)
    if obj.data.device_id != machine.current:  # over to the current device
        return from_host(obj._host, dtype)
    same = not copy and dtype in (None, obj.dtype)
    return obj if same else obj.astype(obj.dtype if dtype is None else dtype, order=order)


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    return array(a, dtype, bool(copy), order or "K")


def ascontiguousarray(a, dtype=None):
    return call(np.ascontiguousarray, asarray(a, dtype))


def asfortranarray(a, dtype=None):
    return call(np.asfortranarray, asarray(a, dtype))


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(stream, order, out) if isinstance(a, ndarray) else np.asarray(a, order=order)


def copyto(dst, src, casting="same_kind", where=None):
    dst[... if where is None else where] = src


def take(a, indices, axis=None, out=None):
    given: list[Any] = []
    indices = index_of(indices, given) if isinstance(indices, ndarray | np.ndarray | list) else indices
    return call(lambda x: np.take(x, indices, axis, mode="wrap"), a)  # no place is out of range


def take_along_axis(a, indices, axis):
    if not isinstance(indices, ndarray):
        raise TypeError(f"Unsupported type {type(indices)}")
    return call(lambda x, i: np.take_along_axis(x, i % max(x.shape[axis or 0], 1), axis), a, indices)


def put_along_axis(arr, indices, values, axis):
    host, i = arr._host, indices._host
    value = values._host if isinstance(values, ndarray) else values
    effect(lambda: np.put_along_axis(host, i, value, axis))


def repeat(a, repeats, axis=None):
    if isinstance(repeats, ndarray):
        raise ValueError("cupy.ndaray cannot be specified as `repeats` argument")
    return call(np.repeat, a, repeats, axis)


def sort(a, axis=-1, kind=None):
    x = a.flatten() if axis is None else a.copy()
    x.sort(-1 if axis is None else axis, kind)
    return x


def argsort(a, axis=-1, kind=None):
    return a.argsort(axis, kind)


def matmul(a, b, out=None):
    """Of bfloat16 a bfloat16, where NumPy's is float32; CuPy 14 has no stacks of those."""
    if isinstance(a, ndarray) and a.dtype.name == "bfloat16":
        if a.ndim > 2 or b.ndim > 2:
            raise TypeError("invalid type: bfloat16")
        return call(lambda x, y: np.matmul(x, y).astype(x.dtype), a, b, out=out)
    return call(np.matmul, a, b, out=out)


def copy(a, order="K"):
    return a.copy()


def result_type(*arrays_and_dtypes):
    return np.result_type(*(x._host if isinstance(x, ndarray) else x for x in arrays_and_dtypes))


def may_share_memory(a, b, max_work=None):
    return np.may_share_memory(a._host, b._host)


def from_dlpack(array, *, device=None, copy=None):
    """Another library's array on the same memory."""
    if array.__dlpack_device__()[0] != 2:
        raise BufferError("the stand-in takes arrays of a GPU only")
    host = np.from_dlpack(_OnHost(array))
    x = ndarray.__new__(ndarray)
    x._host, x.base = host, None
    x.data = MemoryPointer(UnownedMemory(host.ctypes.data, host.nbytes, host, array.__dlpack_device__()[1]), 0)
    return x


class _OnHost:
    """An array that says it is on the host: the stand-in's device memory is."""

    def __init__(self, array):
        self._array = array

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, *, max_version=None, **params):
        return self._array.__dlpack__(stream=1, max_version=max_version)


def _sizes(shape):
    return (operator.index(shape),) if isinstance(shape, int | np.integer) else tuple(shape)


OWN = (
    arange, argsort, array, asarray, ascontiguousarray, asfortranarray, asnumpy, copy, copyto, empty, empty_like, eye,
    from_dlpack, full, full_like, linspace, matmul, may_share_memory, ones, ones_like, put_along_axis, repeat,
    result_type, sort, take, take_along_axis, zeros, zeros_like,
)  # fmt: skip
