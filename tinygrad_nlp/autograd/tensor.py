"""Tensor: an array, and the node of the graph it came from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from nlp_kernels.common.bfloat16 import BFLOAT16
from nlp_kernels.errors import DeviceError, DtypeError, ShapeError

from tinygrad_nlp.autograd import operators
from tinygrad_nlp.autograd.arrays import Array, is_array, namespace
from tinygrad_nlp.autograd.bfloat16 import is_inexact
from tinygrad_nlp.autograd.convert import as_array, to_host
from tinygrad_nlp.autograd.devices import device_of
from tinygrad_nlp.autograd.graph import Graph
from tinygrad_nlp.autograd.node import Leaf, Node, tick
from tinygrad_nlp.autograd.operators import Operators
from tinygrad_nlp.autograd.sweep import sweep

if TYPE_CHECKING:
    from types import ModuleType


class Tensor(Operators):
    """An array that remembers how it was computed.

    `data` is the NumPy or CuPy array, never copied from an array given; `node` is None for a constant, a Leaf where
    `requires_grad`, else the recorded application that made it. Python numbers become float32, int64 or bool.
    """

    __slots__ = ("__weakref__", "data", "node")
    __array_ufunc__ = None  # `ndarray * Tensor` asks Tensor, not NumPy
    __hash__ = object.__hash__

    data: Array
    node: Node | None

    def __init__(self, data: Any, *, requires_grad: bool = False, dtype: Any = None, name: str | None = None):
        self.data = as_array(data, dtype)
        self.node = None
        if requires_grad:
            self._make_leaf(name)

    def __init_subclass__(cls) -> None:
        raise TypeError(
            f"{cls.__name__}: Tensor has no subclasses; a parameter is a leaf, Tensor(..., requires_grad=True)"
        )

    def _make_leaf(self, name: str | None = None) -> None:
        if not is_inexact(self.data.dtype):
            raise DtypeError(f"only floating-point tensors can require a gradient, not {self.data.dtype}")
        self.node = Leaf(self.data.shape, self.data.dtype, name)

    # What it is ----------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self):
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def device(self) -> str:
        """`"cpu"`, or `"cuda:0"` and so on."""
        return device_of(self.data)

    @property
    def requires_grad(self) -> bool:
        return self.node is not None

    @property
    def is_leaf(self) -> bool:
        return self.node is None or type(self.node) is Leaf

    @property
    def name(self) -> str | None:
        return self.node.name if isinstance(self.node, Leaf) else None

    @property
    def T(self) -> Tensor:  # noqa: N802
        """The transpose of a matrix.  (N, C) -> (C, N)"""
        if self.ndim != 2:
            raise ShapeError(f"T needs two axes, got shape {self.shape}; use .mT or permute_dims")
        return operators.ops.matrix_transpose(self)

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The transpose of the last two axes.  (..., N, C) -> (..., C, N)"""
        return operators.ops.matrix_transpose(self)

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        if api_version is not None and api_version not in ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12"):
            raise ValueError(f"unknown array API version {api_version!r}")
        return sys.modules[__name__.partition(".")[0]]

    def __repr__(self) -> str:
        body = np.array2string(to_host(self.data), separator=", ", prefix="Tensor(", threshold=60, edgeitems=3)
        notes = [] if self.dtype in (np.float32, np.int64, np.bool_) else [f"dtype={self.dtype}"]
        if self.device != "cpu":
            notes.append(f"device={self.device!r}")
        if self.node is not None:
            notes.append("requires_grad=True" if self.is_leaf else f"made by {self.node.function.__name__}")
        return f"Tensor({', '.join([body, *notes])})"

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec else str(self), spec)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str):
            known = name in getattr(operators.ops, "__all__", ())
            hint = f": write tinygrad_nlp.{name}(x)" if known else ""
            raise AttributeError(f"a Tensor has no attribute {name!r}{hint}", name=name, obj=self)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d Tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d Tensor")
        return iter(operators.ops.unstack(self))

    def __reduce__(self):
        if not self.is_leaf:
            raise RuntimeError("only leaf tensors can be pickled or deep-copied: use x.detach() first")
        return _rebuild, (self.data, self.requires_grad, self.name, self.grad if self.requires_grad else None)

    def __deepcopy__(self, memo) -> Tensor:
        rebuild, (data, *rest) = self.__reduce__()
        copy = memo[id(self)] = rebuild(data.copy(), *rest)
        return copy

    # Gradients -----------------------------------------------------------------------------------------------------

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has accumulated; None before the first one."""
        node = self.node
        if node is None or isinstance(node, Leaf):
            return node.grad if node is not None else None
        if node.watch is None or _RETAIN not in node.watch.hooks:
            raise RuntimeError(
                f".grad of a tensor made by {node.function.__name__}, which is not a leaf, is not kept: call "
                "x.retain_grad() before backward(), or ask for it with grad(output, [x])"
            )
        return node.watch.hooks[_RETAIN].grad  # type: ignore[attr-defined]

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if not isinstance(self.node, Leaf):
            raise RuntimeError("only a leaf that requires a gradient has a .grad to set")
        if value is not None:
            value = value if type(value) is Tensor else wrap(as_array(value, self.dtype))
            if value.shape != self.shape:
                raise ShapeError(
                    f"a gradient of shape {value.shape} for a tensor of shape {self.shape}; None removes it"
                )
        self.node.grad = value

    def backward(self, cotangent: Any = None, *, retain_graph: bool = False) -> None:
        """Add dL/dleaf to `.grad` of every leaf below; L = <cotangent, self>, a scalar needs no cotangent.

        The kept arrays are released unless `retain_graph`; a second sweep through them raises FreedGraphError.
        """
        if self.node is None:
            raise RuntimeError("backward() of a tensor that does not require a gradient")
        g = cotangent_for(self, cotangent).data
        found, owned = sweep([(self.node, g)], None, create_graph=False, retain_graph=retain_graph)
        for leaf, dx in found.items():
            assert isinstance(leaf, Leaf)
            if dx.dtype != leaf.dtype:
                dx = namespace(dx).astype(dx, leaf.dtype)
            if leaf.grad is None:
                leaf.grad = wrap(dx if leaf in owned and is_array(dx) else namespace(dx).asarray(dx, copy=True))
            else:
                leaf.grad = wrap(leaf.grad.data + dx)

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in `.grad` at every backward()."""
        if self.node is None:
            raise RuntimeError("retain_grad() of a tensor that does not require a gradient")
        if isinstance(self.node, Leaf):
            return
        self.node.watched().hooks.setdefault(_RETAIN, Retained())

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Hook:
        """Call `hook(gradient)` when this tensor's gradient is complete; what it returns replaces the gradient."""
        if self.node is None:
            raise RuntimeError("a hook needs a tensor that requires a gradient")

        def call(g):
            replaced = hook(g if type(g) is Tensor else wrap(g))
            if replaced is None:
                return g
            if type(replaced) is not Tensor:
                replaced = wrap(as_array(replaced, g.dtype))
            if replaced.shape != g.shape:
                raise ShapeError(f"a hook returned a gradient of shape {replaced.shape} for one of shape {g.shape}")
            return replaced if type(g) is Tensor else replaced.data

        hooks, key = self.node.watched().hooks, tick()
        hooks[key] = call
        return Hook(hooks, key)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Make this leaf require a gradient, or stop requiring one (a frozen parameter, E52)."""
        if not self.is_leaf:
            raise RuntimeError("requires_grad_() is for leaves: use x.detach() to cut the graph")
        if requires_grad and self.node is None:
            self._make_leaf()
        elif not requires_grad:
            self.node = None
        return self

    def detach(self) -> Tensor:
        """The same array (not a copy), cut off from the graph."""
        return wrap(self.data)

    def graph(self) -> Graph:
        """The graph that made this tensor: `print(y.graph())`, `y.graph().save("y.svg")`, drawn in a notebook."""
        return Graph(self.node, self.name or "output")

    # Exchange ------------------------------------------------------------------------------------------------------

    def item(self) -> float | int | bool:
        """The value of a tensor with one element, as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item() needs one element, got shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def numpy(self) -> np.ndarray:
        """The array on the CPU (no copy if it is there); of a tensor that requires a gradient, use x.detach()."""
        return self.__array__()

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        self._refuse_export("an array")
        return np.array(to_host(self.data), dtype=dtype, copy=copy)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        self._refuse_export("a DLPack capsule")
        if self.dtype is BFLOAT16 and self.device == "cpu":
            raise DtypeError("NumPy exchanges no bfloat16 by DLPack: convert it with tinygrad_nlp.astype first")
        return self.data.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()

    def _refuse_export(self, what: str) -> None:
        if self.node is not None:
            raise RuntimeError(f"{what} made from a tensor that requires a gradient would cut the graph: x.detach()")

    def to(self, device: str | None = None, dtype: Any = None) -> Tensor:
        """On another device and of another dtype; differentiable, the gradient travels back."""
        x = self
        if device is not None and not isinstance(device, str):
            device, dtype = None, device
        if device is not None and (device := "cuda:0" if device == "cuda" else device) != x.device:
            x = operators.ops.to_device(x, device)
        return x if dtype is None or x.dtype == dtype else operators.ops.astype(x, dtype)

    def to_device(self, device: str, /, *, stream: None = None) -> Tensor:
        return self.to(device)


class Hook:
    """What `register_hook` returns: `remove()` takes the hook away."""

    def __init__(self, hooks: dict, key: int):
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        self._hooks.pop(self._key, None)


class Retained:
    """The hook that `retain_grad` installs: it adds a copy of every gradient it sees."""

    def __init__(self) -> None:
        self.grad: Tensor | None = None

    def __call__(self, g):
        data = g.data if type(g) is Tensor else g
        data = namespace(data).asarray(data, copy=True) if self.grad is None else self.grad.data + data
        self.grad = wrap(data)
        return g


_RETAIN = sys.maxsize  # its key among a node's hooks, after all others: they have the tick of their registration


def wrap(data: Array, node: Node | None = None) -> Tensor:
    """A Tensor around an array, without checks."""
    x = Tensor.__new__(Tensor)
    x.data = data if type(data) is np.ndarray or is_array(data) else np.asarray(data)
    x.node = node
    return x


def cotangent_for(y: Tensor, g: Any) -> Tensor:
    """The cotangent of an output: 1 for a scalar, else of the output's shape, cast to its dtype."""
    if g is None:
        if y.size != 1:
            raise ShapeError(f"a cotangent is needed for an output of shape {y.shape}: it is not a scalar")
        return wrap(namespace(y.data).ones_like(y.data))
    g = g if type(g) is Tensor else wrap(namespace(y.data).asarray(as_array(g, y.dtype)))
    if g.shape != y.shape:
        raise ShapeError(f"a cotangent of shape {g.shape} for an output of shape {y.shape}")
    if g.device != y.device:
        raise DeviceError(f"a cotangent on {g.device} for an output on {y.device}")
    return g if g.dtype == y.dtype else operators.ops.astype(g, y.dtype)


def _rebuild(data, requires_grad, name, grad) -> Tensor:
    x = Tensor(data, requires_grad=requires_grad, name=name)
    if grad is not None:
        x.grad = grad
    return x
