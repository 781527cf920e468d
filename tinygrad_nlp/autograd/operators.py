"""The operators of a Tensor: each is a function of the library, `x + y` is `ops.add(x, y)`."""

from __future__ import annotations

from typing import Any

from nlp_kernels.errors import InplaceError, ShapeError

from tinygrad_nlp.autograd.arrays import writes
from tinygrad_nlp.autograd.modes import is_recording
from tinygrad_nlp.autograd.node import tick

ops: Any = None  # the module of the library's functions; it binds itself here when it is imported


def bind(module: Any) -> None:
    """The one way from the tape up to the functions: `ops` hands itself to the operators."""
    global ops
    ops = module


def plain_index(index: Any) -> Any:
    """An index with the arrays of its Tensors."""
    if isinstance(index, tuple):
        return tuple(plain_index(i) for i in index)
    return index.data if isinstance(index, Operators) else index


class Operators:
    """Arithmetic, comparison, indexing, conversion; in-place forms work where nothing is recorded, else they raise."""

    __slots__ = ()

    data: Any
    node: Any
    shape: Any
    dtype: Any
    ndim: Any
    is_leaf: Any
    item: Any

    def __getitem__(self, index):
        return ops.getitem(self, index)

    def __setitem__(self, index, value) -> None:
        self._refuse_inplace("x[i] = v", "where(mask, v, x) or concat", value)
        self.data[plain_index(index)] = value.data if isinstance(value, Operators) else value
        writes.note(self.data, tick())

    def _refuse_inplace(self, what: str, instead: str, value: Any) -> None:
        tracked = self.node is not None or (isinstance(value, Operators) and value.node is not None)
        if not self.is_leaf or (tracked and is_recording()):
            on = "" if self.is_leaf else f" on the result of {self.node.function.__name__}"
            raise InplaceError(f"{what}{on} would overwrite what a gradient needs: write {instead}")

    def _inplace(self, function, other, symbol: str):
        self._refuse_inplace(f"x {symbol}= v", f"x = x {symbol} v", other)
        result = function(self.data, other).data
        if result.shape != self.shape:
            raise ShapeError(f"x {symbol}= v: the result has shape {result.shape}, x has {self.shape}")
        self.data[...] = result
        writes.note(self.data, tick())
        return self

    def sum(self, *, axis=None, keepdims=False):
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, *, axis=None, keepdims=False):
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape):
        return ops.reshape(self, shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.ndim or self.dtype.kind not in "iu":
            raise TypeError("only a 0-d integer Tensor is an index")
        return int(self.data)

    def __neg__(self):
        return ops.negative(self)

    def __pos__(self):
        return ops.positive(self)

    def __abs__(self):
        return ops.abs(self)

    def __invert__(self):
        return ops.bitwise_invert(self)

    def __lt__(self, other):
        return ops.less(self, other)

    def __le__(self, other):
        return ops.less_equal(self, other)

    def __gt__(self, other):
        return ops.greater(self, other)

    def __ge__(self, other):
        return ops.greater_equal(self, other)

    def __eq__(self, other):
        return ops.equal(self, other)

    def __ne__(self, other):
        return ops.not_equal(self, other)

    def __add__(self, other):
        return ops.add(self, other)

    def __radd__(self, other):
        return ops.add(other, self)

    def __iadd__(self, other):
        return self._inplace(ops.add, other, "+")

    def __sub__(self, other):
        return ops.subtract(self, other)

    def __rsub__(self, other):
        return ops.subtract(other, self)

    def __isub__(self, other):
        return self._inplace(ops.subtract, other, "-")

    def __mul__(self, other):
        return ops.multiply(self, other)

    def __rmul__(self, other):
        return ops.multiply(other, self)

    def __imul__(self, other):
        return self._inplace(ops.multiply, other, "*")

    def __truediv__(self, other):
        return ops.divide(self, other)

    def __rtruediv__(self, other):
        return ops.divide(other, self)

    def __itruediv__(self, other):
        return self._inplace(ops.divide, other, "/")

    def __floordiv__(self, other):
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other):
        return ops.floor_divide(other, self)

    def __ifloordiv__(self, other):
        return self._inplace(ops.floor_divide, other, "//")

    def __mod__(self, other):
        return ops.remainder(self, other)

    def __rmod__(self, other):
        return ops.remainder(other, self)

    def __imod__(self, other):
        return self._inplace(ops.remainder, other, "%")

    def __pow__(self, other):
        return ops.pow(self, other)

    def __rpow__(self, other):
        return ops.pow(other, self)

    def __ipow__(self, other):
        return self._inplace(ops.pow, other, "**")

    def __matmul__(self, other):
        return ops.matmul(self, other)

    def __rmatmul__(self, other):
        return ops.matmul(other, self)

    def __imatmul__(self, other):
        return self._inplace(ops.matmul, other, "@")

    def __and__(self, other):
        return ops.bitwise_and(self, other)

    def __rand__(self, other):
        return ops.bitwise_and(other, self)

    def __iand__(self, other):
        return self._inplace(ops.bitwise_and, other, "&")

    def __or__(self, other):
        return ops.bitwise_or(self, other)

    def __ror__(self, other):
        return ops.bitwise_or(other, self)

    def __ior__(self, other):
        return self._inplace(ops.bitwise_or, other, "|")

    def __xor__(self, other):
        return ops.bitwise_xor(self, other)

    def __rxor__(self, other):
        return ops.bitwise_xor(other, self)

    def __ixor__(self, other):
        return self._inplace(ops.bitwise_xor, other, "^")

    def __lshift__(self, other):
        return ops.bitwise_left_shift(self, other)

    def __rlshift__(self, other):
        return ops.bitwise_left_shift(other, self)

    def __ilshift__(self, other):
        return self._inplace(ops.bitwise_left_shift, other, "<<")

    def __rshift__(self, other):
        return ops.bitwise_right_shift(self, other)

    def __rrshift__(self, other):
        return ops.bitwise_right_shift(other, self)

    def __irshift__(self, other):
        return self._inplace(ops.bitwise_right_shift, other, ">>")
