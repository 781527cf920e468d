"""Constant cotangents fail a test that uses the fixture, wherever they are handed in; a marker allows them."""

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, grad, jvp, vjp
from tinygrad_nlp.autograd.check import CheckError
from tinygrad_nlp.testing import refuse_constant_cotangents

x = np.array([1.0, 2.0, 3.0])


def leaf():
    return Tensor(x, requires_grad=True)


def by_grad(g):
    a = leaf()
    return grad(a * a, a, g)


def by_backward(g):
    a = leaf()
    (a * a).backward(g)


def by_vjp(g):
    return vjp(lambda a: a * a, x, g)


@pytest.mark.constant_cotangents("hands them to a block of its own")
@pytest.mark.parametrize("hand_in", [by_grad, by_backward, by_vjp])
def test_a_constant_is_refused_within_the_block_only(hand_in):
    hand_in(np.ones(3))
    with (
        refuse_constant_cotangents(),
        pytest.raises(CheckError, match=r"the cotangent of an output of shape \(3,\) is 2 in all of its 3 places"),
    ):
        hand_in(np.full(3, 2.0))
    hand_in(np.ones(3))


@pytest.mark.parametrize("g", [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], ids=["random", "zero", "one-hot"])
@pytest.mark.parametrize("hand_in", [by_grad, by_backward, by_vjp])
def test_others_pass(hand_in, g):
    with refuse_constant_cotangents():
        hand_in(np.array(g))


def test_that_of_a_single_number_passes():
    with refuse_constant_cotangents():
        a = leaf()
        tn.sum(a * a).backward()
        np.testing.assert_array_equal(a.grad.data, 2 * x)
        a = leaf()
        grad(tn.sum(a * a, keepdims=True), a, np.ones(1))


def test_a_jvp_passes_which_differentiates_its_own_cotangent():
    with refuse_constant_cotangents():
        _, y = jvp(lambda a: a * a, x, np.array([1.0, 0.0, 2.0]))
    np.testing.assert_allclose(y.data, [2, 0, 12])


def test_the_block_ends_with_an_error_too():
    before = tn.autograd.tensor.cotangent_for
    with pytest.raises(KeyError), refuse_constant_cotangents():
        raise KeyError
    assert tn.autograd.tensor.cotangent_for is before


TESTS = """
    import numpy as np
    import pytest
    from tinygrad_nlp import Tensor, tanh

    def backward(g):
        a = Tensor([1.0, 2.0, 3.0], requires_grad=True)
        tanh(a).backward(g)

    def test_constant({fixture}):
        backward(np.ones(3))

    def test_random({fixture}):
        backward(np.array([0.3, -1.0, 2.0]))

    @pytest.mark.constant_cotangents("the subject of this test")
    def test_marked({fixture}):
        backward(np.ones(3))
"""
CONFTEST = """
    import pytest

    pytest_plugins = ["tinygrad_nlp.testing.plugin"]
"""
AUTOUSE = """
    @pytest.fixture(autouse=True)
    def _random_cotangents(no_constant_cotangents):
        pass
"""


@pytest.mark.constant_cotangents("the tests of that project are to be judged by its own fixture")
@pytest.mark.parametrize(
    ("conftest", "fixture", "failed"),
    [(CONFTEST, "", 0), (CONFTEST, "no_constant_cotangents", 1), (CONFTEST + AUTOUSE, "", 1)],
    ids=["not used", "used by name", "used by every test"],
)
def test_the_fixture_in_a_project_of_its_own(pytester, conftest, fixture, failed):
    pytester.makeconftest(conftest)
    pytester.makepyfile(TESTS.format(fixture=fixture))
    result = pytester.runpytest_inprocess("--strict-markers", "-p", "no:xdist", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3 - failed, failed=failed)
    if failed:
        result.stdout.fnmatch_lines(
            ["*CheckError: the cotangent of an output of shape (3,) is 1 in all of its 3 places*"]
        )
        result.stdout.fnmatch_lines(["FAILED *::test_constant*"])


def test_the_marker_is_explained(pytester):
    pytester.makeconftest(CONFTEST)
    result = pytester.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.constant_cotangents(reason): lets a test use constant cotangents*"])
