"""`ndarray` of the stand-in: what CuPy's has, on memory of the host, and no way to NumPy but `get`."""

from __future__ import annotations

import operator
from types import SimpleNamespace
from typing import Any

import numpy as np
from cupy import _memory
from cupy._call import around, call, check_dtype, effect, from_host, index_of
from cupy._machine import machine

_NO_CONVERSION = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


class ndarray:
    """An array on the device: `_host` is its memory as NumPy sees it, which only the stand-in may."""

    __slots__ = ("__weakref__", "_host", "base", "data")
    __hash__ = None
    __array_priority__ = 100

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        shape, dtype = (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype)
        check_dtype(dtype)
        self.data = memptr or _memory.alloc(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        whole = getattr(self.data.mem, "block", None)
        buffer = whole.bytes if whole is not None else self.data.mem.owner
        self._host = np.ndarray(shape, dtype, buffer, self.data.offset, strides, "F" if order == "F" else "C")
        self.base = None

    def _view(self, host: np.ndarray) -> ndarray:
        """Another array on the same memory."""
        x = ndarray.__new__(ndarray)
        x._host, x.base = host, self if self.base is None else self.base
        x.data = self.data + (host.ctypes.data - self.data.ptr)
        return x

    # What it is ----------------------------------------------------------------------------------------------------

    shape = property(lambda x: x._host.shape)
    dtype = property(lambda x: x._host.dtype)
    ndim = property(lambda x: x._host.ndim)
    size = property(lambda x: x._host.size)
    itemsize = property(lambda x: x._host.itemsize)
    nbytes = property(lambda x: x._host.nbytes)
    strides = property(lambda x: x._host.strides)
    T = property(lambda x: call(np.transpose, x))
    mT = property(lambda x: call(np.swapaxes, x, -1, -2))  # noqa: N815
    real = property(lambda x: call(np.real, x))
    imag = property(lambda x: call(np.imag, x))

    @property
    def flags(self):
        known = {name: getattr(self._host.flags, name) for name in ("c_contiguous", "f_contiguous", "fnc", "forc")}
        return SimpleNamespace(**known, owndata=self.base is None)

    @property
    def device(self):
        return self.data.device

    @property
    def __cuda_array_interface__(self):
        host = self._host
        strides = None if host.flags.c_contiguous else host.strides
        return {"shape": host.shape, "typestr": host.dtype.str, "descr": host.dtype.descr, "version": 3,
                "strides": strides, "data": (self.data.ptr, False), "stream": 1}  # fmt: skip

    # To the host and to other libraries ----------------------------------------------------------------------------

    def get(self, stream=None, order="C", out=None, blocking=True):
        machine.synchronises()
        if out is None:
            return np.array(self._host, order=order, copy=True)
        out[...] = self._host
        return out

    def set(self, arr, stream=None):
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype or self.shape != arr.shape:
            raise ValueError(f"{arr.dtype} array of shape {arr.shape} cannot be set to {self.dtype} {self.shape}")
        machine.synchronises()
        self._host[...] = arr

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C"):
        return self.get().tobytes(order)

    def __array__(self, dtype=None):
        raise TypeError(_NO_CONVERSION)

    def __array_ufunc__(self, function, method, *inputs, out=(), **params):
        import cupy

        target = getattr(cupy, function.__name__, None)
        if method != "__call__" or target is None:
            return NotImplemented
        return target(*inputs, **params, **({"out": out[0]} if out else {}))

    def __array_function__(self, function, types, args, params):
        import cupy

        target = getattr(cupy, function.__name__, None)
        if target is None or any(not issubclass(t, ndarray | np.ndarray) for t in types):
            return NotImplemented
        return target(*args, **params)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """Memory of the host called a device's: only the stand-in's `from_dlpack` may take it."""
        return self._host.__dlpack__(max_version=max_version, copy=copy)

    def __dlpack_device__(self):
        return 2, self.data.device_id  # kDLCUDA

    def __repr__(self):
        return repr(self.get())

    def __str__(self):
        return str(self.get())

    def __format__(self, spec):
        return format(self.get(), spec)

    def __bool__(self):
        return bool(self.get())

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __complex__(self):
        return complex(self.get())

    def __reduce__(self):
        return _rebuilt, (self.get(),)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    # Items ---------------------------------------------------------------------------------------------------------

    def __len__(self):
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index):
        given: list[Any] = []
        index = index_of(index, given)
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(p, bool | np.bool_) or (isinstance(p, np.ndarray) and p.dtype.kind == "b") for p in parts):
            machine.synchronises()  # how many places a mask has decides the shape
        return call(lambda host: host[around(index, host.shape)], self)

    def __setitem__(self, index, value):
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        given: list[Any] = [self, value]
        host, index = self._host, index_of(index, given)
        value = index_of(value, given) if isinstance(value, ndarray) else np.asarray(value)[()]
        effect(lambda: operator.setitem(host, around(index, host.shape), value))

    def fill(self, value):
        self[...] = value

    # Functions -----------------------------------------------------------------------------------------------------

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        dtype = np.dtype(dtype)
        check_dtype(dtype)
        return self if not copy and dtype == self.dtype else call(lambda x: np.array(x, dtype, order=order), self)

    def copy(self, order="C"):
        return call(lambda x: np.array(x, order=order, copy=True), self)

    def reshape(self, *shape, order="C"):
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
        return call(np.reshape, self, shape, order=order)

    def transpose(self, *axes):
        axes = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return call(np.transpose, self, axes or None)

    def view(self, dtype=None):
        return call(lambda x: x.view() if dtype is None else x.view(dtype), self)

    def flatten(self, order="C"):
        return call(lambda x: x.flatten(order), self)

    def sort(self, axis=-1, kind=None):
        host = self._host
        _only_stable(kind)
        effect(lambda: host.sort(axis=axis, kind="stable"))

    def argsort(self, axis=-1, kind=None):
        _only_stable(kind)
        return call(np.argsort, self, axis=axis, kind="stable")


def _only_stable(kind):
    if kind not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")


def _rebuilt(host):
    return from_host(host)


def _method(name):
    def method(self, *args, **params):
        import cupy

        return getattr(cupy, name)(self, *args, **params)

    method.__name__ = name
    return method


METHODS = (
    "all any argmax argmin clip cumprod cumsum diagonal dot max mean min nonzero prod ptp ravel repeat round "
    "searchsorted squeeze std sum swapaxes take trace var conj conjugate"
)
for _name in METHODS.split():
    setattr(ndarray, _name, _method(_name))

OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift", "lt": "less", "le": "less_equal",
    "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
}  # fmt: skip
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def _operator(function, how):
    def apply(self, *other):
        import cupy

        if other and getattr(other[0], "__array_ufunc__", ndarray) is None:
            return NotImplemented  # a Tensor, say
        target = getattr(cupy, function)
        if how == "swapped":
            return target(other[0], self)
        return target(self, *other, out=self) if how == "in place" else target(self, *other)

    return apply


for _name, _function in OPERATORS.items():
    setattr(ndarray, f"__{_name}__", _operator(_function, "plain"))
    if _name not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(ndarray, f"__r{_name}__", _operator(_function, "swapped"))
    if _name not in ("lt", "le", "gt", "ge", "eq", "ne", "matmul"):
        setattr(ndarray, f"__i{_name}__", _operator(_function, "in place"))
for _name, _function in UNARY.items():
    setattr(ndarray, f"__{_name}__", _operator(_function, "plain"))
