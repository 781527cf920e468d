"""What the error of a wrong gradient says besides its diagnosis; what is right has none."""

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor
from tinygrad_nlp.autograd import namespace
from tinygrad_nlp.autograd.check import GradientError, check_grads

x34, x3 = np.random.default_rng(0).normal(size=(3, 4)), np.array([0.5, -1.5, 2.0])


def squared(rule):
    """x², with a rule of its own."""

    @tn.primitive()
    def f(x):
        return x * x

    f.vjp("x")(rule)
    return f


right = squared(lambda g, x: 2 * g * x)


def error_of(f, *xs, **options):
    with pytest.raises(GradientError) as caught:
        check_grads(f, xs, **options)
    return caught.value


def constant(x):
    return x.detach() if isinstance(x, Tensor) else x


# The worst element and the small case -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4), (40, 30)], ids=["one by one", "by halves"])
def test_the_worst_element_is_named(shape):
    place = (2, 3)
    wrong = np.ones(shape)
    wrong[place] = 1.5
    error = error_of(squared(lambda g, x: 2 * g * x * wrong), np.random.default_rng(1).normal(size=shape))
    assert "  worst element: [2, 3], the rule gives" in str(error)
    assert (error.argument, error.order) == ("x", 1)
    assert error.report.rows == []  # it is the first comparison


@pytest.mark.parametrize(
    ("f", "xs", "small"),
    [
        (squared(lambda g, x: 3 * g * x), [x34], "x = [[1]], g = [[3]]: the rule gives [[9]], richardson [[6]]"),
        (squared(lambda g, x: 2 * g * x + 1), [x34], "x = [[0]], g = [[3]]: the rule gives [[1]], richardson [[0]]"),
        (
            lambda x, w: tn.tensordot(x, right(w), axes=1) + squared(lambda g, x: g * x)(w)[0],
            [x3, x3],
            "x = [0], w = [1], g = 3: the rule gives [3], richardson [6]",
        ),
        (
            lambda x, i: squared(lambda g, x: g)(x)[i],
            [x34, np.array([2, 0, 1, 1])],
            "x = [[0]], i = [0], g = [[3]]: the rule gives [[3]], richardson [[0]]",
        ),
    ],
    ids=["factor", "term", "one of two inputs", "with indices"],
)
def test_the_small_case_has_few_small_integers(f, xs, small):
    assert f"  a small case: {small}" in str(error_of(f, *xs, order=1))


def test_a_case_of_second_order_is_small_as_well():
    error = error_of(squared(lambda g, x: 2 * g * constant(x)), x34)
    assert (error.order, error.argument) == (2, "x")
    assert error.diagnosis == "the first gradient is taken as a constant: nothing flows back through it (frozen)"
    assert "a small case: x = [[0]], g = [[3]], gg = [[-2]]: the rule gives [[0]], richardson [[-12]]" in str(error)


def test_statistics_taken_as_constants_are_found_at_second_order():
    """The first gradient of layer norm is right; its own gradient lacks what flows through mean and deviation."""

    def mean(a):
        return namespace(a).mean(a, axis=-1, keepdims=True)

    @tn.primitive()
    def norm(x):
        c = x - mean(x)
        return c / namespace(x).sqrt(mean(c * c) + 1e-5)

    @norm.vjp("x")
    def _(g, x):
        mu, r = constant(mean(x)), constant(1 / namespace(x).sqrt(mean((x - mean(x)) ** 2) + 1e-5))
        h = (x - mu) * r
        return r * (g - mean(g) - h * mean(g * h))

    error = error_of(norm, np.random.default_rng(2).normal(size=(3, 6)))
    assert error.order == 2
    assert error.diagnosis.startswith(
        "right at first order; at second the missing part has rank 2 along axis -1, as if 2"
    )


def test_what_is_too_large_is_cut_before_it_is_looked_at():
    error = error_of(squared(lambda g, x: -2 * g * x), np.random.default_rng(0).normal(size=(20, 30)))
    assert error.diagnosis == "the sign is flipped"

    def picky(x):
        assert x.shape == (20, 30)
        return squared(lambda g, x: -2 * g * x)(x)

    error = error_of(picky, np.random.default_rng(0).normal(size=(20, 30)))
    assert error.diagnosis == "too large to say: check it at smaller shapes"


def test_another_input_may_say_more():
    """The error by x alone has no pattern; that by w is a sign."""

    @tn.primitive()
    def product(x, w):
        return x @ w

    product.vjp("x")(lambda g, w: np.cos(np.arange(12.0)).reshape(3, 4) * (g @ w.T) + namespace(g).sum(g))
    product.vjp("w")(lambda g, x: -(x.T @ g))
    error = error_of(product, x34, np.random.default_rng(1).normal(size=(4, 2)))
    assert error.diagnosis == "that by w is wrong too, and the sign is flipped"


# Asked in another way -----------------------------------------------------------------------------------------------


def reads_in_order(a):
    """A kernel that takes memory for C-contiguous."""
    if isinstance(a, np.ndarray) and not a.flags.c_contiguous:
        return a.ravel(order="K").reshape(a.shape) if 0 not in a.strides else np.full(a.shape, a.flat[0] + 1)
    return a


@pytest.mark.parametrize(
    ("rule", "how", "look"),
    [
        (lambda g, x: 2 * reads_in_order(g) * x, "for cotangents", "only right for contiguous cotangents"),
        (lambda g, x: 2 * g * reads_in_order(x), "for inputs", "only right for contiguous inputs"),
        (
            lambda g, x: (3 if isinstance(g, Tensor) else 2) * g * x,
            "when it is itself to be differentiated (create_graph=True)",
            "wrong when it is itself to be differentiated (create_graph=True)",
        ),
    ],
)
def test_presentations(rule, how, look):
    error = error_of(squared(rule), x34)
    assert f"gradient of order 1 by input 0 (x) of shape (3, 4) is wrong {how}" in str(error)
    assert error.diagnosis == look
    assert "worst element: [" in str(error)


def test_a_gradient_that_depends_on_which_others_are_asked_for():
    def f(x, w):
        return right(x) * w if x.requires_grad and w.requires_grad else 2 * right(x.detach()) * w * 0.5 + 0 * x

    error = error_of(f, x34, x34 + 1)
    assert error.diagnosis in ("wrong when only x requires a gradient", "wrong when only w requires a gradient")


def test_a_gradient_that_depends_on_which_outputs_are_used():
    """One rule for two outputs that sees both cotangents, and is not linear in them together."""

    @tn.primitive(several=True)
    def both(x):
        return x * x, 3 * x

    both.vjp("x")(lambda gs, x: 2 * x * gs[0] + 3 * gs[1])
    check_grads(both, [x3])
    both.vjp("x")(lambda gs, x: 2 * x * gs[0] * (abs(gs[1]) > 0) + 3 * gs[1])
    assert error_of(both, x3).diagnosis.startswith("wrong when only output ")


# Kinks and precision ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slope", "kinks", "look"),
    [
        (2.0, "between", "not between the one-sided slopes"),
        (-0.5, "zero", "not between the one-sided slopes"),
        (1.0, "zero", "not what the convention says"),
        (0.0, "mean", "not what the convention says"),
        (0.5, "right", "not what the convention says"),
        (0.5, "left", "not what the convention says"),
        (0.5, lambda left, right: right / 4, "not what the convention says"),
    ],
)
def test_a_derivative_at_a_kink_against_its_convention(slope, kinks, look):
    @tn.primitive()
    def relu(x):
        return namespace(x).where(x > 0, x, 0.0 * x)

    relu.vjp("x")(lambda g, x: g * namespace(x).where(x > 0, 1.0, namespace(x).where(x == 0, slope, 0.0 * x)))
    error = error_of(relu, np.array([1.0, 0.0, -2.0]), kinks=kinks, order=1)
    assert error.diagnosis == look
    assert "at a kink, the gradient by x[1] is" in str(error)


@pytest.mark.parametrize(
    ("kinks", "slope"), [("zero", 0.0), ("mean", 0.5), ("left", 0.0), ("right", 1.0), ("between", 0.3)]
)
def test_a_derivative_at_a_kink_that_keeps_to_its_convention(kinks, slope):
    @tn.primitive()
    def relu(x):
        return namespace(x).where(x > 0, x, 0.0 * x)

    relu.vjp("x")(lambda g, x: g * namespace(x).where(x > 0, 1.0, namespace(x).where(x == 0, slope, 0.0 * x)))
    report = check_grads(relu, [np.array([1.0, 0.0, -2.0])], kinks=kinks)
    assert report.rows[0].note == "1 at kinks"


def test_values_of_a_coarser_precision():
    error = error_of(lambda x: tn.astype(tn.astype(x, tn.float32), tn.float64) * x, x3)
    assert error.diagnosis == "float32 inside float64"
    assert "carry fewer digits than float64 has" in str(error)


def test_nan_where_the_derivative_is_finite():
    """The branch that `where` did not take: 0 · ∞ in the rule, a classic."""

    @tn.primitive()
    def root(x):
        return namespace(x).where(x > 0, namespace(x).sqrt(abs(x)), 0.0 * x)

    root.vjp("x")(lambda g, x: g * (x > 0) * 0.5 / namespace(x).sqrt(x))
    error = error_of(root, np.array([1.0, -1.0, 2.0]))
    assert error.diagnosis.startswith("0 · ∞ inside the rule")
    assert "it is nan at [1], where richardson gives 0" in str(error)


# What is right ------------------------------------------------------------------------------------------------------

RIGHT = {
    "square": (right, [x34]),
    "layer norm": (lambda x: tn.layer_norm(x, np.ones(4), np.zeros(4)), [x34]),
    "several outputs": (lambda x: (tn.exp(x), tn.sum(x * x, axis=0)), [x34]),
    "broadcast": (lambda x, w: x * w, [x34, x34[0]]),
    "indices": (lambda x, i: x[i], [x34, np.array([2, 0, 2])]),
    "empty": (lambda x: tn.sum(x, axis=0), [x34[:0]]),
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_has_no_diagnosis(case):
    f, xs = RIGHT[case]
    report = check_grads(f, xs, order=3)
    assert report.error <= report.floor
    assert {row.order for row in report.rows} == {1, 2, 3}
