"""Every way in which a check has no verdict: the function or the request is at fault, and the message says which."""

from itertools import cycle

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp.autograd.check import (
    CheckError,
    MutationError,
    NondeterministicError,
    NonFiniteError,
    NotDifferentiableError,
    OutputError,
    VacuousError,
    check_grads,
)

x3 = np.array([0.5, -1.5, 2.0])


def right(x):
    return x * x


def writes(x):
    x.data[...] = 0
    return x * 1.0


def writes_other(x, other):
    other += 1
    return x * 1.0


def rule_writes(g):
    if isinstance(g, np.ndarray):
        g *= 2
        return g
    return 2 * g


noise, lengths = np.random.default_rng(0), cycle([2, 3])


@tn.primitive()
def doubled(x):
    return 2 * x


doubled.vjp("x")(rule_writes)

NO_VERDICT = {
    "random values": (
        lambda x: x * noise.normal(),
        NondeterministicError,
        "two calls with the same inputs differ in out",
    ),
    "random shapes": (lambda x: x[: next(lengths)], NondeterministicError, "of shapes"),
    "writes into its input": (writes, MutationError, r"changed its input 0 of shape \(3,\) in place"),
    "its rule writes": (doubled, MutationError, "the backward pass changed its cotangent 0 in place"),
    "array": (lambda x: x.data, OutputError, r"returned an array of shape \(3,\), not a Tensor"),
    "dtype": (lambda x: tn.astype(x, tn.float32), OutputError, "output 0 is float32 where all inputs are float64"),
    "shape depends on values": (
        lambda x: x[: 3 if x.data[0] == 0.5 else 2],
        OutputError,
        "shapes must not depend on the values of the inputs",
    ),
    "NaN": (lambda x: tn.log(x), NonFiniteError, "output 0 holds 1 NaN of 3 values at the drawn point: draw inside"),
    "infinite": (lambda x: x / (x.data - 0.5), NonFiniteError, "1 Inf of 3"),
    "infinite slope": (
        lambda x: tn.sqrt(tn.maximum(x, 0.5) - 0.5),
        NonFiniteError,
        r"gradient of order 1 by input 0 \(x\) holds 1 Inf",
    ),
    "kink": (lambda x: tn.abs(x - 0.5), NotDifferentiableError, "it has a kink there"),
    "jump": (lambda x: x * tn.floor(x), NotDifferentiableError, "it jumps"),
    "vacuous": (lambda x: tn.sum(tn.softmax(x)), VacuousError, r"by x \(3,\) is zero in every direction"),
    "integers": (lambda x: tn.argmax(x), VacuousError, "returned no floating-point Tensor"),
    "too fast": (lambda x: tn.sin(x * 1e12), CheckError, "do not settle|jumps"),
}


@pytest.mark.parametrize("case", NO_VERDICT)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_no_verdict(case):
    f, kind, words = NO_VERDICT[case]
    with pytest.raises(kind, match=words) as caught:
        check_grads(f, [x3])
    assert not isinstance(caught.value, AssertionError)  # never a wrong gradient
    assert isinstance(caught.value, CheckError)


def test_a_constant_that_is_written_into():
    with pytest.raises(MutationError, match="changed its input 1 of shape"):
        check_grads(writes_other, [x3, np.arange(3)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"oracle": "guess"}, "oracle='guess' is not one of auto, richardson, complex, adjoint"),
        ({"order": 0}, "order=0: the first order is 1"),
        ({"kinks": "up"}, "kinks='up' is not one of between, zero, mean, left, right"),
        ({"oracle": "adjoint"}, "is for linear functions: declare linear=True"),
        ({"linear": True}, "is declared linear, but"),
        ({"wrt": ["z"]}, r"wrt='z' is none of the floating-point inputs \[0\] \(x\)"),
        ({"wrt": [1]}, "wrt=1 is none of"),
        ({"dtype": np.float16}, "gradients are checked in float64 or float32"),
        ({"cotangents": [np.ones(3)]}, "cotangent 0 is 1 in all of its 3 places"),
        ({"cotangents": [np.arange(2.0)]}, r"cotangents of shapes \[\(2,\)\] for outputs \[\(3,\)\]"),
        ({"cotangents": []}, r"cotangents of shapes \[\]"),
        ({"reference": lambda x: x}, "the reference <lambda> does not give the values of right"),
        (
            {"oracle": "complex", "reference": lambda x: tn.abs(x) ** 2},
            "the function is not analytic|does not take comp",
        ),
    ],
)
def test_requests_that_make_no_sense(options, words):
    with pytest.raises(CheckError, match=words):
        check_grads(right, [x3], **options)


@pytest.mark.parametrize("x", [x3, tn.Tensor(x3)])
def test_an_array_in_place_of_a_list(x):
    with pytest.raises(
        CheckError, match=r"right: inputs is one array of shape \(3,\): write check_grads\(right, \[x\]\)"
    ):
        check_grads(right, x)


def test_nothing_to_differentiate_by():
    with pytest.raises(CheckError, match="no floating-point array among the inputs"):
        check_grads(right, [np.arange(3)])
