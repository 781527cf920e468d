"""primitive: a function of arrays and, beside it, how a gradient flows back through it.

    @primitive
    def tanh(x):
        return namespace(x).tanh(x)

    @tanh.vjp("x")
    def _(g, y):                          # dL/dx = dL/dy * (1 - y^2)
        return g * (1 - y * y)

A rule asks by name for what it needs: `g` the cotangent of the output, `y` the output, an input (`x`), an input's shape
or dtype (`x_shape`, `x_dtype`), a parameter (`axis`). What no rule asks for is not kept. A rule runs on plain arrays
when only first gradients are wanted, and on Tensors when the gradient itself is to be differentiated: the same text,
to any order.

Calling a primitive costs about as much as a NumPy function, because the call is a function written out for its
signature (as dataclasses does for `__init__`): `print(tanh.source)` shows it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nlp_kernels.errors import DtypeError, TinygradError

from tinygrad_nlp.autograd import anomaly, operators
from tinygrad_nlp.autograd.arrays import is_array
from tinygrad_nlp.autograd.bfloat16 import BFLOAT16, in_float32, is_floating, is_inexact, is_numeric, narrowing
from tinygrad_nlp.autograd.convert import as_input, as_optional, as_parameter, operand
from tinygrad_nlp.autograd.explain import library_error, no_numbers
from tinygrad_nlp.autograd.modes import ANOMALY, RECORD, mode
from tinygrad_nlp.autograd.node import Node, tick
from tinygrad_nlp.autograd.outputs import cotangents_of, outputs_of
from tinygrad_nlp.autograd.tensor import Tensor, wrap

_CALL = """\
def {name}({signature}):
    try:
{unwrap}{narrow}
        y = forward({arguments})
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        primitive.explain(error, ({inputs},))
        raise
    if type(y) is not ndarray:
        y = as_output(y)
    if ({constant}) or tape_mode.get() != RECORD:
        return primitive.unusual(({nodes},), ({inputs},), ({kept},), y)
{promote}
    node = new_object(Node)
    node.function, node.sources, node.kept, node.shape = primitive, ({nodes},), ({kept},), y.shape
    node.order, node.watch = tick(), None
    result = new_object(Tensor)
    result.data, result.node = y, node
    return result
"""
_UNWRAP = """\
        if type({x}) is Tensor:
            node_{x}, {x} = {x}.node, {x}.data
        else:
            node_{x}, {x} = None, {x} if type({x}) is ndarray else {plain}({x})
"""


class Primitive:
    """A function of arrays with a vector-Jacobian rule for each input that has a gradient.

    Positional parameters are inputs (Tensors, arrays, numbers, shapes), keyword-only ones are hyperparameters. With
    `broadcasts` (elementwise functions) a gradient is summed over broadcast axes, and inputs of different dtypes are
    promoted. With `several` the function returns a tuple, and its rules get the tuple of the outputs' cotangents. One
    that moves values and computes none, or rounds once by itself, `takes_bfloat16`; the others see it in float32.
    """

    source: str  # the Python text of the call
    call: Any  # the differentiable function itself

    def __init__(
        self, forward: Callable, *, broadcasts: bool = False, several: bool = False, takes_bfloat16: bool = False
    ):
        self.__name__, self.forward = forward.__name__, forward
        self.broadcasts, self.several, self.takes_bfloat16 = broadcasts, several, takes_bfloat16
        parameters = inspect.signature(forward).parameters.values()
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            raise TypeError(f"{forward.__name__}: a primitive names its inputs; * and ** are not possible")
        if not forward.__name__.isidentifier():
            raise TypeError(f"a primitive has a name, {forward.__name__} has none: write it with def")
        self.inputs = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self.optional = [p.name for p in parameters if p.default is None]
        self.hyper = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self._rules: dict[str, tuple[Callable, list[str]]] = {}
        self._compile()

    def vjp(self, input_name: str) -> Callable[[Callable], Callable]:
        """Declare the rule of one input: `rule(g, ...)` returns dL/d(input) for the cotangent `g` of the output."""
        if input_name not in self.inputs:
            raise ValueError(f"{self.__name__} has no input named {input_name!r}; it has {', '.join(self.inputs)}")

        def add(rule: Callable) -> Callable:
            asked = list(inspect.signature(rule).parameters)[1:]
            for name in asked:
                self._expression(name)
            self._rules[input_name] = rule, asked
            self._compile()
            return rule

        return add

    def _expression(self, name: str) -> str:
        """Where the call finds what a rule asks for by name."""
        if name == "y" or name in self.inputs or name in self.hyper:
            return name
        owner, _, attribute = name.rpartition("_")
        if owner in self.inputs and attribute in ("shape", "dtype", "device"):
            return f"{owner}.{attribute}"
        raise ValueError(
            f"a rule of {self.__name__} asks for {name!r}: not y, an input, its _shape or _dtype, or a parameter"
        )

    def _compile(self) -> None:
        """Write the call out: unwrap, compute, and record what the rules of the tracked inputs ask for."""
        self.names = [n for n in self.inputs if n in self._rules]  # the differentiable inputs, in order
        self.rules = [self._rules[n][0] for n in self.names]
        self.lifts = [self._lifts(n) for n in self.names]
        nodes = [f"node_{n}" for n in self.names]
        kept = [
            f"({''.join(self._expression(a) + ', ' for a in self._rules[n][1])}) if node_{n} is not None else None"
            for n in self.names
        ]
        mixed = [f"(node_{n} is not None and {n}.dtype is not y.dtype)" for n in self.names]
        constant = "True" if self.several else " and ".join(f"{n} is None" for n in nodes) or "True"
        if "dtype" in self.inputs + self.hyper:
            constant += " or not is_inexact(y.dtype)"  # a conversion to integers has no gradient
        promote = ""
        if self.broadcasts and len(self.inputs) > 1 and mixed:
            again = f"primitive.promoted(({', '.join(nodes)},), ({', '.join(self.inputs)},), y.dtype)"
            promote = f"    if ({' or '.join(mixed)}) and (again := {again}):\n        return {self.__name__}(*again)"
        self.source = _CALL.format(
            name=self.__name__,
            signature=self._signature(),
            unwrap="".join(_UNWRAP.format(x=n, plain=self._plain(n)) for n in self.inputs).rstrip(),
            narrow=self._narrow(nodes),
            arguments=", ".join([*self.inputs, *(f"{h}={h}" for h in self.hyper)]),
            inputs=", ".join(self.inputs),
            constant=constant,
            nodes=", ".join(nodes) or "None",
            kept=", ".join(kept) or "None",
            promote=promote,
        )
        scope: dict[str, Any] = {
            **{f"default_{n}": p.default for n, p in inspect.signature(self.forward).parameters.items()},
            "forward": self.forward,
            "primitive": self,
            "tape_mode": mode,
            "RECORD": RECORD,
            "as_output": self._output,
            "bfloat16": BFLOAT16,
            "in_float32": in_float32,
            "is_inexact": is_inexact,
            "Node": Node,
            "Tensor": Tensor,
            "tick": tick,
            "new_object": object.__new__,
            "ndarray": np.ndarray,
            "as_input": as_input,
            "as_weak": operand,
            "as_optional": as_optional,
            "as_parameter": as_parameter,
        }
        taken = {"y", "type", "node", "result", "again", "error", *scope} & {*self.inputs, *self.hyper}
        if taken:
            raise ValueError(
                f"{self.__name__}: a primitive's parameter cannot be named {taken.pop()}: "
                "rules ask for the output as y, the call itself uses the others"
            )
        exec(compile(self.source, f"<primitive {self.__name__}>", "exec"), scope)
        written: Any = scope[self.__name__]
        if not hasattr(self, "call"):
            self.call = functools.update_wrapper(written, self.forward)
            del self.call.__wrapped__
            self.call.vjp, self.call.primitive = self.vjp, self
        self.call.__code__ = written.__code__  # the same function object, as rules are declared one by one
        self.call.__globals__.update(scope)
        self.call.source = self.source

    def _output(self, y: Any) -> Any:
        """A scalar as a 0-d array; an array, and the tuple of several outputs, as they are."""
        if self.several is not isinstance(y, (tuple, list)):
            wanted = "a tuple of arrays" if self.several else "one array: for several, declare @primitive(several=True)"
            raise TypeError(f"{self.__name__} returned a {type(y).__name__}, not {wanted}")
        return tuple(y) if self.several else y if is_array(y) else np.asarray(y)

    def _plain(self, name: str) -> str:
        """What becomes of an input that is no Tensor: beside other operands a number is weak, it does not promote."""
        if self.broadcasts and len(self.inputs) > 1:
            return "as_optional" if name in self.optional else "as_weak"
        return "as_input" if name in self.names else "as_parameter"

    def _narrow(self, nodes: list[str]) -> str:
        """The lines that send operands of bfloat16 through float32, unless it takes them."""
        if self.takes_bfloat16 or not self.inputs:
            return ""
        surely = {n for n in self.names if self._plain(n) == "as_input"} - {*self.optional}  # an array by now
        return narrowing(self.inputs, surely, nodes, self.hyper)

    def _signature(self) -> str:
        """The forward function's own signature; defaults are fetched by name."""
        parts, star = [], False
        for p in inspect.signature(self.forward).parameters.values():
            if p.kind is p.KEYWORD_ONLY and not star:
                parts.append("*")
                star = True
            parts.append(p.name if p.default is p.empty else f"{p.name}=default_{p.name}")
        return ", ".join(parts)

    def _lifts(self, name: str) -> list[tuple[int, int]]:
        """Of what the rule of an input asks for, what has a place in the graph: (position, source), -1 for y."""
        places = {"y": -1, **{n: i for i, n in enumerate(self.names)}}
        return [(k, places[a]) for k, a in enumerate(self._rules[name][1]) if a in places]

    def lifted(self, node: Node) -> list:
        """What the node kept, as Tensors tied to the graph, so that the rules differentiate through it."""
        kept = []
        for asked, lifts in zip(node.kept, self.lifts, strict=True):
            args = list(asked) if asked is not None else []
            for k, source in lifts if asked is not None else ():
                if source < 0:
                    args[k] = wrap(args[k], node) if not self.several else outputs_of(node, args[k])
                elif node.sources[source] is not None:
                    args[k] = wrap(args[k], node.sources[source])
            kept.append(args)
        return kept

    cotangents = staticmethod(cotangents_of)

    def unusual(self, nodes: tuple, inputs: tuple, kept: tuple, y: Any) -> Any:
        """The result of a call that is not recorded, is watched for anomalies, or has several outputs."""
        y = self._output(y) if self.several else y
        flags, outputs = mode.get(), y if self.several else (y,)
        if outputs and not is_numeric(outputs[0].dtype):
            raise DtypeError(f"{self.__name__}: there are no tensors of dtype {outputs[0].dtype}")
        node = None
        if flags & RECORD and any(n is not None for n in nodes) and (self.several or is_inexact(y.dtype)):
            node = Node(self, nodes, kept, [(a.shape, a.dtype) for a in y] if self.several else y.shape)
        if flags & ANOMALY:
            anomaly.check_forward(node, self, self.inputs, inputs, outputs)
        if self.several:
            return outputs_of(node, y) if node is not None else tuple(map(wrap, y))
        if y.ndim == 0 and y.dtype == np.float64 and not any(map(is_array, inputs)):
            y = y.astype(np.float32)  # of Python numbers alone
        return wrap(y, node)

    def promoted(self, nodes: tuple, inputs: tuple, dtype: Any) -> list | None:
        """The inputs as Tensors of the result's dtype, by a recorded conversion; None where nothing changes."""
        tensors = self.tensors(nodes, inputs)
        if not any(type(x) is Tensor and x.dtype != dtype and is_floating(x.dtype) for x in tensors):
            return None
        return [operators.ops.astype(x, dtype) if type(x) is Tensor and is_floating(x.dtype) else x for x in tensors]

    def tensors(self, nodes: Sequence, inputs: Sequence) -> tuple:
        """The inputs of a call with their places in the graph again; what is no array stays as it is."""
        tracked = dict(zip(self.names, nodes, strict=True))
        return tuple(wrap(x, tracked.get(n)) if is_array(x) else x for n, x in zip(self.inputs, inputs, strict=True))

    def explain(self, error: Exception, inputs: tuple) -> None:
        """Raise the library's error for one of NumPy's or CuPy's; a mistake of `forward` itself stays as it is."""
        for n, x in zip(self.inputs, inputs, strict=True):
            if n in self.names and (what := no_numbers(x)) and not (x is None and n in self.optional):
                raise DtypeError(f"{self.__name__}: its operand {n} is {what}, not an array of numbers") from error
        explained = isinstance(error, TinygradError) and str(error).startswith(self.__name__)
        if not explained and not isinstance(error, AttributeError):
            raise library_error(self.__name__, error, inputs) from error


def primitive(
    forward: Callable | None = None, *, broadcasts: bool = False, several: bool = False, takes_bfloat16: bool = False
) -> Any:
    """Make a function of arrays y = f(x, …) differentiable; `f.vjp("x")` declares the rule g, … -> ∂<g, y>/∂x.

    `broadcasts` is for elementwise functions, (...), (...) -> broadcast, whose gradients are summed back; `several` for
    tuples of outputs; `takes_bfloat16` for what computes nothing, or rounds by itself. An input without a rule has no
    gradient; one that may be None has the default None. Raises TypeError for *args, **kwargs and functions without a
    name, ValueError for a parameter named as what rules ask for.

    >>> @tn.primitive
    ... def cube(x):
    ...     return x**3
    >>> @cube.vjp("x")
    ... def _(g, x):
    ...     return g * 3 * x**2
    >>> x = tn.Tensor(2.0, requires_grad=True)
    >>> tn.grad(cube(x), x)
    (Tensor(12.),)
    """
    if forward is None:
        return lambda f: Primitive(f, broadcasts=broadcasts, several=several, takes_bfloat16=takes_bfloat16).call
    return Primitive(forward).call
