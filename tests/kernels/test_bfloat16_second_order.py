"""First and second derivatives of bfloat16 through the tape, on a GPU's kernels: near those in float64."""

import numpy as np
import pytest
from nlp_kernels.dispatch import use_backend
from simulated import needs_simulator

import tinygrad_nlp as tn
from tinygrad_nlp.autograd import Tensor, grad
from tinygrad_nlp.nn import functional as F

pytestmark = needs_simulator()


def attended(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def layer(x, w, b):
    return F.linear(x, w, b)


CASES = {
    "attention": (attended, [(1, 2, 9, 8)] * 3, (1, 2, 9, 8), "attention"),
    "matmul": (layer, [(16, 24), (8, 24), (8,)], (16, 8), "matmul"),
}


KERNELS = {
    ("attention", "hopper"): "hopper_backward<",
    ("attention", "tensor_cores"): "attention_keys<",
    ("matmul", "hopper"): "multiply<",
    ("matmul", "tensor_cores"): "product<",
}


@pytest.mark.parametrize("backend", ["hopper", "tensor_cores"])
@pytest.mark.parametrize("name", CASES)
def test_both_derivatives_are_near(standin_cupy, name, backend):
    """Random cotangents of the output and of its gradients."""
    from cupy._machine import machine

    function, shapes, of_y, hot_path = CASES[name]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(tn.bfloat16) for shape in (*shapes, of_y, *shapes)]

    def derivatives(cast):
        *inputs, g = (cast(x).requires_grad_() for x in arrays[: len(shapes) + 1])
        first = grad(function(*inputs), inputs, g, create_graph=True)
        vs = [cast(x) for x in arrays[len(shapes) + 1 :]]
        wanted = [inputs[0], inputs[1], g]
        both = (*first, *grad(list(first), wanted, vs))
        return [x.detach().to("cpu").numpy().astype(np.float64) for x in both]

    right = derivatives(lambda x: Tensor(x.astype(np.float64)))
    with use_backend(backend, hot_path):
        ours = derivatives(lambda x: Tensor(x).to("cuda"))
    assert any(name.startswith(KERNELS[hot_path, backend]) for name in machine.launches)
    for mine, exact in zip(ours, right, strict=True):
        assert np.abs(mine - exact).max() <= 2**-5 * np.abs(exact).max()
