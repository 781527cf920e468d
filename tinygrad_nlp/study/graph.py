"""`tinygrad-nlp study graph`: draw the graph of a function, as text and as an SVG picture."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from nlp_kernels.errors import UserError

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor


def neuron(x, w, b):
    """y = tanh(<x, w> + b)"""
    return tn.tanh(tn.sum(x * w) + b)


def attention(q, k, v):
    """softmax(Q Kᵀ / √d) V, one function after the other"""
    scores = q @ k.mT / q.shape[-1] ** 0.5
    weights = tn.exp(scores - tn.max(scores, axis=-1, keepdims=True))
    return (weights / tn.sum(weights, axis=-1, keepdims=True)) @ v


def transformer_block(x, gamma, beta, w1, b1, w2, b2):
    """x + FFN(LayerNorm(x)) with the fused functions"""
    h = tn.layer_norm(x, gamma, beta)
    return tn.linear(tn.linear(h, w1, b1, activation="gelu_tanh"), w2, b2, x)


EXAMPLES: dict[str, tuple[Callable, str]] = {
    "neuron": (neuron, "3 3 scalar"),
    "attention": (attention, "4,8 4,8 4,8"),
    "block": (transformer_block, "4,8 8 8 32,8 32 8,32 8"),
}


def main(argv: list[str]) -> int:
    """Draw one of the examples, or any function of tensors, with random inputs of the given shapes."""
    parser = argparse.ArgumentParser(
        prog="tinygrad-nlp study graph",
        description="Draw what a function records: text here, an SVG picture in a file.",
        epilog="example: tinygrad-nlp study graph mypackage.losses:hinge --shape 4,3 --shape scalar --out hinge.svg",
    )
    parser.add_argument("target", nargs="?", default="neuron", help=f"{', '.join(EXAMPLES)}, or MODULE:FUNCTION")
    parser.add_argument("--shape", action="append", default=[], help="shape of one input: 4,3 or scalar; repeat it")
    parser.add_argument("--out", type=Path, default=None, help="where the picture goes (default: TARGET.svg)")
    parser.add_argument("--backward", action="store_true", help="draw the graph of the gradient by the first input")
    args = parser.parse_args(argv)
    f, shapes = EXAMPLES.get(args.target) or (_function(args.target), "")
    names = f.__code__.co_varnames[: f.__code__.co_argcount] if hasattr(f, "__code__") else ()
    sizes = [_shape(s) for s in (args.shape or shapes.split())]
    if not sizes:
        raise UserError(f"study graph: {args.target} needs the shape of each input: --shape 4,3 --shape scalar …")
    generator = tn.random.Generator(0)
    inputs = [
        Tensor(generator.normal(size), requires_grad=True, name=names[i] if i < len(names) else f"x{i}")
        for i, size in enumerate(sizes)
    ]
    try:
        y = f(*inputs)
        if not isinstance(y, Tensor):
            raise TypeError(f"it returns a {type(y).__name__}, one tensor can be drawn")
        if args.backward:
            g = Tensor(generator.normal(y.shape), requires_grad=True, name="g")
            (y,) = tn.grad(y, inputs[0], g, create_graph=True)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        shapes = ", ".join(str(x.shape) for x in inputs)
        raise UserError(f"study graph: {args.target} of random inputs of shapes {shapes}: {error}") from error
    graph = y.graph()
    out = args.out or Path(f"{args.target.rpartition(':')[2]}.svg")
    try:
        graph.save(out)
    except OSError as error:
        raise UserError(f"study graph: cannot write {out}: {error.strerror}") from error
    print(graph)
    print(f"picture: {out}")
    return 0


def _function(target: str) -> Callable:
    module_name, _, name = target.partition(":")
    if not name:
        raise UserError(f"study graph: {target!r} is neither {', '.join(EXAMPLES)} nor MODULE:FUNCTION")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"study graph: cannot find {target}: {error}") from error


def _shape(text: str) -> tuple[int, ...]:
    try:
        return () if text in ("scalar", "()") else tuple(int(n) for n in text.split(","))
    except ValueError:
        raise UserError(f"study graph: {text!r} is not a shape; write 4,3 or scalar") from None
