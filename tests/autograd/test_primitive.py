"""Writing a primitive: what goes wrong is said where it is written."""

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor


@pytest.mark.parametrize("name", ["y", "node", "type"])
def test_names_that_a_parameter_cannot_have(name):
    """An input named y, and a rule that asks for y: it would get the output."""
    scope = {}
    exec(f"def product(x, {name}):\n    return x * {name}", scope)
    with pytest.raises(ValueError, match=f"product: a primitive's parameter cannot be named {name}"):
        tn.primitive(broadcasts=True)(scope["product"])


def test_names_that_a_parameter_may_have():
    @tn.primitive
    def scale(array, *, mode="twice"):
        return array * (2 if mode == "twice" else 1)

    scale.vjp("array")(lambda g, mode: g * (2 if mode == "twice" else 1))
    x = Tensor([3.0], requires_grad=True)
    scale(x).backward([7.0])
    assert x.grad.item() == 14.0


def test_one_output_or_several():
    @tn.primitive
    def both(x):
        return np.sin(x), np.cos(x)

    both.vjp("x")(lambda g: g)
    with pytest.raises(TypeError, match=r"both returned a tuple, not one array.*several=True"):
        both(Tensor([1.0], requires_grad=True))

    @tn.primitive(several=True)
    def one(x):
        return np.sin(x)

    with pytest.raises(TypeError, match="one returned a ndarray, not a tuple of arrays"):
        one(Tensor([1.0]))


def test_a_rule_that_returns_a_number():
    @tn.primitive
    def flat(x):
        return np.floor(x)

    flat.vjp("x")(lambda g: 0.0)
    with pytest.raises(tn.DtypeError, match=r"flat: the rule for x returned 0.0, not an array of shape \(2,\)"):
        flat(Tensor([1.0, 2.0], requires_grad=True)).backward([1.0, 3.0])
