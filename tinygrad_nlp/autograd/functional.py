"""grad and its family: products with Jacobians, never the Jacobian itself unless it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nlp_kernels.errors import DtypeError, ShapeError

from tinygrad_nlp.autograd import operators
from tinygrad_nlp.autograd.arrays import namespace
from tinygrad_nlp.autograd.modes import enable_grad, recording
from tinygrad_nlp.autograd.sweep import sweep
from tinygrad_nlp.autograd.tensor import Tensor, cotangent_for, wrap


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    cotangents: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor, ...]:
    """Vector-Jacobian product dx_i = Σ_k g_k · ∂y_k/∂x_i for each input.  outputs (...), inputs (...) -> as the inputs

    A missing cotangent stands for 1 and needs a scalar output. With `create_graph` the results can be differentiated
    again. The kept arrays are released unless `retain_graph` (default: `create_graph`). Raises ShapeError for
    cotangents that do not fit the outputs, RuntimeError for an input that requires no gradient or that no output
    depends on (`allow_unused` gives zeros), FreedGraphError for a released graph, DtypeError for outputs that are no
    Tensors.

    >>> x = tn.Tensor([1.0, 2.0], requires_grad=True)
    >>> tn.grad(x**2, x, [1.0, 10.0])
    (Tensor([ 2., 40.]),)
    """
    ys, xs = _several(outputs), _several(inputs)
    if cotangents is None:
        gs: Sequence[Any] = [None] * len(ys)
    else:
        gs = cotangents if isinstance(cotangents, (tuple, list)) and not isinstance(outputs, Tensor) else [cotangents]
        if isinstance(outputs, Tensor) and isinstance(cotangents, (tuple, list)) and len(cotangents) == 1:
            gs = [cotangents] if np.ndim(cotangents[0]) == 0 < outputs.ndim else cotangents
    if len(gs) != len(ys):
        raise ShapeError(f"{len(gs)} cotangents for {len(ys)} outputs")
    for i, y in enumerate(ys):
        if not isinstance(y, Tensor):
            raise DtypeError(f"output {i} of grad() is a {type(y).__name__}, not a Tensor")
    for i, x in enumerate(xs):
        if not isinstance(x, Tensor) or x.node is None:
            raise RuntimeError(
                f"input {i} of grad() does not require a gradient: make it Tensor(..., requires_grad=True)"
            )
    with recording(create_graph):
        roots = [(y.node, cotangent_for(y, g)) for y, g in zip(ys, gs, strict=True)]
        found, owned = sweep(
            [(node, g if create_graph else g.data) for node, g in roots if node is not None],
            {x.node for x in xs},
            create_graph=create_graph,
            retain_graph=create_graph if retain_graph is None else retain_graph,
        )
    results = []
    for i, x in enumerate(xs):
        g = found.get(x.node)
        if g is None:
            if not allow_unused:
                raise RuntimeError(
                    f"input {i} of grad(), of shape {x.shape}, is not used by the outputs (allow_unused gives zeros)"
                )
            g = namespace(x.data).zeros_like(x.data)
        elif type(g) is Tensor:
            with recording(create_graph):
                g = operators.ops.positive(g)  # a gradient aliases nothing
        elif x.node not in owned:
            g = namespace(g).asarray(g, copy=True)
        owned.discard(x.node)  # the same input a second time
        g = g if type(g) is Tensor else wrap(g)
        if g.dtype != x.dtype:
            with recording(create_graph):
                g = operators.ops.astype(g, x.dtype)
        results.append(g)
    return tuple(results)


def value_and_grad(f: Callable, inputs: Any) -> tuple[Any, Any]:
    """(f(x), df/dx) of a scalar function.  (...) -> (), (...); a tuple of inputs has a tuple of gradients

    An input that f does not use has a gradient of 0. Raises ShapeError unless f returns a scalar, DtypeError for inputs
    that are not floating-point and for what f returns that is no Tensor.

    >>> tn.value_and_grad(lambda x: x**2, 3.0)
    (Tensor(9.), Tensor(6.))
    """
    xs = _leaves(inputs)
    y = _scalar("value_and_grad", f, xs)
    return y.detach(), _like(inputs, grad(y, xs, allow_unused=True))


def vjp(f: Callable, inputs: Any, cotangents: Any = None, *, create_graph: bool = False) -> tuple[Any, Any]:
    """(f(x), g · J), J_ij = ∂f_i/∂x_j.  x (N,), g (M,) -> (M,), (N,)

    The cotangents have the outputs' structure, the result has the inputs'; a scalar f needs none. Raises ShapeError for
    cotangents that do not fit the outputs, DtypeError for inputs that are not floating-point and for what f returns
    that is no Tensor.

    >>> tn.vjp(lambda x: x**2, tn.Tensor([1.0, 2.0]), tn.Tensor([1.0, 10.0]))
    (Tensor([1., 4.]), Tensor([ 2., 40.]))
    """
    xs = _leaves(inputs, create_graph)
    ys = _call("vjp", f, xs)
    gs = None if cotangents is None else _several(cotangents)
    dxs = grad(_several(ys), xs, gs, create_graph=create_graph, allow_unused=True)
    return ys if create_graph else _detached(ys), _like(inputs, dxs)


def jvp(f: Callable, inputs: Any, tangents: Any, *, create_graph: bool = False) -> tuple[Any, Any]:
    """(f(x), J · v), J_ij = ∂f_i/∂x_j: the vector-Jacobian product, linear in its cotangent, differentiated by it.

    x (N,), v (N,) -> (M,), (M,). Raises ShapeError for tangents that do not fit the inputs, DtypeError for inputs that
    are not floating-point and for what f returns that is no Tensor.

    >>> tn.jvp(lambda x: x**2, tn.Tensor([1.0, 2.0]), tn.Tensor([1.0, 10.0]))
    (Tensor([1., 4.]), Tensor([ 2., 40.]))
    """
    xs, vs = _leaves(inputs, create_graph), _tensors(tangents)
    _check_tangents("jvp", xs, vs)
    ys = _call("jvp", f, xs)
    us = [Tensor(namespace(y.data).ones_like(y.data), requires_grad=True) for y in _several(ys)]
    gs = grad(_several(ys), xs, us, create_graph=True, allow_unused=True)
    used = [(g, v) for g, v in zip(gs, vs, strict=True) if g.node is not None]
    if used:
        out = grad([g for g, _ in used], us, [v for _, v in used], create_graph=create_graph, allow_unused=True)
    else:
        out = tuple(wrap(namespace(u.data).zeros_like(u.data)) for u in us)
    return ys if create_graph else _detached(ys), _like(ys, out)


def jacobian(f: Callable, inputs: Any, *, create_graph: bool = False) -> Any:
    """J_ij = ∂f_i/∂x_j, one sweep per output element.  (N,) -> (M, N), for any shapes f(x).shape + x.shape

    Raises DtypeError for inputs that are not floating-point and unless f returns one Tensor.

    >>> tn.jacobian(lambda x: x**2, np.asarray([1.0, 2.0]))
    Tensor([[2., 0.],
            [0., 4.]], dtype=float64)
    """
    xs = _leaves(inputs, create_graph)
    y = _one("jacobian", f, xs)
    rows = []
    for i in range(y.size):
        e = np.zeros(y.shape, y.dtype)
        e.flat[i] = 1
        rows.append(grad(y, xs, e, create_graph=create_graph, retain_graph=True, allow_unused=True))
    ops = operators.ops
    if not rows:
        return _like(inputs, [wrap(namespace(x.data).zeros(y.shape + x.shape, dtype=x.dtype)) for x in xs])
    return _like(inputs, [ops.reshape(ops.stack(list(dx)), y.shape + x.shape) for dx, x in zip(zip(*rows), xs)])  # noqa: B905


def hessian(f: Callable, inputs: Tensor | np.ndarray, *, create_graph: bool = False) -> Tensor:
    """H_ij = ∂²f/∂x_i∂x_j of a scalar function of one array.  (N,) -> (N, N), for any shape x.shape + x.shape

    Raises ShapeError unless f returns a scalar, DtypeError for inputs that are not floating-point and for what f
    returns that is no Tensor.

    >>> tn.hessian(lambda x: tn.sum(x**3), np.asarray([1.0, 2.0]))
    Tensor([[ 6.,  0.],
            [ 0., 12.]], dtype=float64)
    """

    def gradient(x):
        return grad(_scalar("hessian", f, [x]), x, create_graph=True, allow_unused=True)[0]

    return jacobian(gradient, inputs, create_graph=create_graph)


def hvp(f: Callable, inputs: Any, vectors: Any) -> tuple[Any, Any]:
    """(f(x), H v) of a scalar function: the gradient of <∇f, v>, without the Hessian.  x (N,), v (N,) -> (), (N,)

    Raises ShapeError for vectors that do not fit the inputs and unless f returns a scalar, DtypeError for inputs that
    are not floating-point and for what f returns that is no Tensor.

    >>> tn.hvp(lambda x: tn.sum(x**3), np.asarray([1.0, 2.0]), np.asarray([1.0, 0.0]))
    (Tensor(9., dtype=float64), Tensor([6., 0.], dtype=float64))
    """
    xs, vs = _leaves(inputs), _tensors(vectors)
    _check_tangents("hvp", xs, vs)
    y = _scalar("hvp", f, xs)
    gs = grad(y, xs, create_graph=True, allow_unused=True)
    used = [(g, v) for g, v in zip(gs, vs, strict=True) if g.node is not None]
    if not used:
        return y.detach(), _like(inputs, [wrap(namespace(x.data).zeros_like(x.data)) for x in xs])
    return y.detach(), _like(inputs, grad([g for g, _ in used], xs, [v for _, v in used], allow_unused=True))


def _several(x: Any) -> list:
    return list(x) if isinstance(x, (tuple, list)) else [x]


def _tensors(xs: Any) -> list[Tensor]:
    return [x if isinstance(x, Tensor) else Tensor(x) for x in _several(xs)]


def _leaves(inputs: Any, connected: bool = False) -> list[Tensor]:
    """Fresh leaves of the same values; with `connected`, tensors that already require a gradient stay themselves."""
    return [x if connected and x.node is not None else Tensor(x.data, requires_grad=True) for x in _tensors(inputs)]


def _check_tangents(function: str, xs: list[Tensor], vs: list[Tensor]) -> None:
    if len(xs) != len(vs):
        raise ShapeError(f"{function}: {len(vs)} tangents for {len(xs)} inputs")
    for x, v in zip(xs, vs, strict=True):
        if x.shape != v.shape:
            raise ShapeError(f"{function}: a tangent of shape {v.shape} for an input of shape {x.shape}")


def _call(function: str, f: Callable, xs: list[Tensor]) -> Any:
    with enable_grad():
        ys = f(*xs)
    for y in _several(ys):
        if not isinstance(y, Tensor):
            raise DtypeError(f"{function}: the function returned a {type(y).__name__}, not a Tensor")
    return ys


def _one(function: str, f: Callable, xs: list[Tensor]) -> Tensor:
    y = _call(function, f, xs)
    if not isinstance(y, Tensor):
        raise DtypeError(f"{function}: a function with one output is needed, this one returned a {type(y).__name__}")
    return y


def _scalar(function: str, f: Callable, xs: list[Tensor]) -> Tensor:
    y = _one(function, f, xs)
    if y.size != 1:
        raise ShapeError(f"{function}: a scalar function is needed, this one returned shape {y.shape}")
    return y


def _detached(ys: Any) -> Any:
    return tuple(y.detach() for y in ys) if isinstance(ys, (tuple, list)) else ys.detach()


def _like(structure: Any, xs: Sequence[Tensor]) -> Any:
    return tuple(xs) if isinstance(structure, (tuple, list)) else xs[0]
