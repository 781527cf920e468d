"""bfloat16 tensors: what they promote to, how they are computed, what is refused."""

import ml_dtypes
import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import DtypeError, Tensor, nn
from tinygrad_nlp.autograd import namespace, primitive

N = 10_000


def ones(n=N):
    """Numbers near 1, their sum far beyond where bfloat16 counts on."""
    return Tensor(np.ones(n), dtype=tn.bfloat16)


@pytest.mark.parametrize(
    ("other", "dtype"),
    [(2, "bfloat16"), (2.5, "bfloat16"), (True, "bfloat16"), (np.float32(2), "bfloat16"), (np.float64(2), "bfloat16"),
     (np.ones(3, np.float32), "float32"), (np.ones(3), "float64"), (np.ones(3, np.int64), "bfloat16"),
     (np.ones(3, bool), "bfloat16"), (np.ones(3, tn.bfloat16), "bfloat16")],
)  # fmt: skip
def test_promotion(other, dtype):
    x = Tensor([1.0, 2.0, 3.0], dtype="bfloat16")
    for y in (x * other, other * x if isinstance(other, (int, float)) else x + other, tn.where(x > 1, x, other)):
        assert y.dtype == dtype
    if not np.isscalar(other):
        assert tn.result_type(x, other) == tn.result_type(tn.bfloat16, other.dtype) == dtype


def test_numbers_do_not_promote_a_gradient_either():
    x = Tensor([1.0, 2.0], dtype=tn.bfloat16, requires_grad=True)
    (g,) = tn.grad(tn.sum(tn.exp(x * 0.5) / 3 - 1), x)
    assert g.dtype == tn.bfloat16


@pytest.mark.parametrize(
    ("function", "exact"),
    [("sum", N), ("mean", 1), ("var", 0), ("vector_norm", 100), ("logsumexp", 1 + np.log(N)), ("cumulative_sum", N)],
)
def test_nothing_accumulates_in_bfloat16(function, exact):
    y = np.asarray(getattr(tn, function)(ones()), np.float64).reshape(-1)[-1]
    assert abs(y - exact) <= exact * 2**-8


def test_products_and_repeated_places_do_not_either():
    x = ones()
    x.requires_grad_()
    assert float(x @ ones()) == float(tn.einsum("i,i->", x, ones())) == 9984  # the nearest that bfloat16 has
    table = Tensor([1.0, 1.0], dtype=tn.bfloat16, requires_grad=True)
    (g,) = tn.grad(tn.sum(table[np.zeros(N, np.int64)]), table)
    assert g.tolist() == [9984, 0]
    (g,) = tn.grad(tn.sum(table[0] * ones()), table)  # broadcast
    assert g.tolist() == [9984, 0]


def test_planted_a_sum_that_is_called_a_move_stalls():
    @primitive(takes_bfloat16=True)
    def careless(x):
        return x.sum()

    @primitive
    def careful(x):
        return x.sum()

    assert (float(careless(ones())), float(careful(ones()))) == (256, 9984)


def test_the_variance_of_numbers_far_from_zero():
    x = Tensor(1000 + 8 * np.arange(4.0), dtype=tn.bfloat16)
    assert float(tn.var(x)) == 80  # with the mean rounded to 1008 or 1016: 96


def test_a_conversion_passes_the_gradient_back_in_the_dtype_it_came_from():
    x = Tensor(np.linspace(-2, 2, 7), requires_grad=True)
    y = tn.astype(x, "bfloat16")
    tn.sum(y * y).backward()
    assert (y.dtype, x.grad.dtype) == (tn.bfloat16, np.float64)
    np.testing.assert_allclose(x.grad.data, 2 * x.data, rtol=2**-7)
    assert x.detach().to(dtype=tn.bfloat16).dtype == tn.bfloat16


def test_second_gradients():
    x = Tensor([0.5, 1.5], dtype=tn.bfloat16, requires_grad=True)
    (g,) = tn.grad(tn.sum(x**3.0), x, create_graph=True)
    (gg,) = tn.grad(tn.sum(g), x)
    assert gg.dtype == tn.bfloat16
    assert gg.tolist() == [3, 9]
    layer = nn.LayerNorm(2, dtype=tn.bfloat16)
    (g,) = tn.grad(tn.sum(layer(x) ** 3.0), x, create_graph=True)
    assert tn.grad(tn.sum(g * x), x)[0].dtype == tn.bfloat16


def test_one_rounding_for_each_function():
    """x / 3 · 3 of a function that knows of no bfloat16 is that of float32, rounded once."""

    @primitive
    def third(x):
        return namespace(x).exp(x / 3.0) * 3.0

    x = np.linspace(-3, 3, 101).astype(tn.bfloat16)
    np.testing.assert_array_equal(third(x).data, third(x.astype(np.float32)).data.astype(tn.bfloat16))


def test_what_a_dtype_says_of_itself():
    info = tn.finfo(tn.bfloat16)
    assert (info.bits, info.eps, info.max, info.dtype) == (16, 2**-7, 2.0**128 * (1 - 2**-8), tn.bfloat16)
    assert tn.isdtype(tn.bfloat16, "real floating")
    assert not tn.isdtype(tn.bfloat16, "integral")
    assert tn.can_cast(tn.bfloat16, tn.float32)
    assert repr(Tensor([0.5], dtype=tn.bfloat16)) == "Tensor([0.5], dtype=bfloat16)"


def test_layers_and_their_state():
    layer = nn.Linear(3, 2).to("bfloat16")
    state = layer.state_dict()
    assert {x.dtype for x in state.values()} == {tn.bfloat16}
    wide = nn.Linear(3, 2)
    wide.load_state_dict(state)
    assert wide.weight.dtype == np.float32
    np.testing.assert_array_equal(wide.weight.data, state["weight"].astype(np.float32))
    loss = nn.functional.cross_entropy(layer(np.ones((4, 3), tn.bfloat16)), np.array([0, 1, 1, -100]))
    assert loss.dtype == np.float32


def test_what_is_refused():
    with pytest.raises(DtypeError, match=r"cannot make a Tensor of ndarray .dtype float8_e4m3fn"):
        Tensor(np.zeros(2, ml_dtypes.float8_e4m3fn))
    with pytest.raises(DtypeError, match=r"NumPy exchanges no bfloat16 by DLPack: convert it with tinygrad_nlp.astype"):
        Tensor([1.0], dtype=tn.bfloat16).__dlpack__()
