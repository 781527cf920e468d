"""Anomaly mode names the function, the operand and the line of the first NaN or Inf."""

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, detect_anomaly

rng = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def test_the_first_nan_of_a_forward_pass():
    x = Tensor([1.0, -1.0], requires_grad=True)
    with (
        detect_anomaly(),
        pytest.raises(tn.AnomalyError, match=r"log: the result holds 1 NaN of 2.*x in \[-1, 1\].*test_anomaly.py:\d+"),
    ):
        tn.log(x) * 2
    with detect_anomaly(), pytest.raises(tn.AnomalyError, match=r"divide: the result holds Inf.*a in .*b in \[0, 1\]"):
        x / Tensor([1.0, 0.0])


def test_an_operand_that_is_already_bad():
    with detect_anomaly(), pytest.raises(tn.AnomalyError, match="exp: its operand x already holds 1 NaN"):
        tn.exp(Tensor([np.nan, 1.0]))


def test_a_gradient_that_is_not_finite_and_where_it_was_called():
    x = Tensor([0.0, 1.0], requires_grad=True)
    with detect_anomaly():
        y = tn.sqrt(x) * 2
        with pytest.raises(
            tn.AnomalyError, match=r"sqrt: the gradient of its operand x holds Inf.*test_anomaly.py:\d+"
        ):
            y.backward(np.array([0.3, 0.7]))


def test_fused_functions_are_watched():
    x = Tensor([[np.inf, 1.0]], requires_grad=True)
    with detect_anomaly(), pytest.raises(tn.AnomalyError, match="softmax: its operand x already holds Inf"):
        tn.softmax(x)


def test_a_kept_array_changed_behind_the_tape():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    with detect_anomaly():
        y = x * x
        x.data[0] = 9.0  # the library cannot see this write
        with pytest.raises(
            tn.AnomalyError, match=r"multiply: an array that its gradient needs was changed.*test_anomaly"
        ):
            y.backward(rng.normal(size=3))


def test_nothing_is_raised_for_finite_numbers_and_outside():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    with detect_anomaly():
        tn.tanh(x * x).backward(rng.normal(size=3))
    tn.log(Tensor([-1.0]))
    with detect_anomaly(), detect_anomaly(False):
        tn.log(Tensor([-1.0]))


def test_a_number_that_is_not_finite_is_an_operand():
    with detect_anomaly(), pytest.raises(tn.AnomalyError, match="where: its operand b already holds the number -inf"):
        tn.where(np.array([True, False]), Tensor([1.0, 2.0]), -np.inf)
