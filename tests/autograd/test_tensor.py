"""Tensor as a value: creation, repr, conversion, exchange, hooks."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        (3, np.int64),
        (True, np.bool_),
        ([1.0, 2.0], np.float32),
        ([[1, 2], [3, 4]], np.int64),
        (np.ones(2), np.float64),
        (np.ones(2, np.int32), np.int32),
        (np.float64(2), np.float64),
        ([Tensor([1.0]), Tensor([2.0])], np.float32),
    ],
)
def test_dtypes_of_new_tensors(data, dtype):
    assert Tensor(data).dtype == dtype


def test_an_array_is_not_copied_and_text_is_refused():
    a = np.ones(3)
    assert Tensor(a).data is a
    assert Tensor(a, dtype=np.float32).dtype == np.float32
    with pytest.raises(tn.DtypeError, match="cannot make a Tensor of str"):
        Tensor("abc")


def test_repr_says_what_it_is():
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert repr(Tensor([1.0], requires_grad=True)) == "Tensor([1.], requires_grad=True)"
    assert repr(Tensor(np.ones(1))) == "Tensor([1.], dtype=float64)"
    assert repr(tn.exp(Tensor([0.0], requires_grad=True))) == "Tensor([1.], made by exp)"
    assert len(repr(Tensor(np.ones((1000, 1000))))) < 500


def test_numbers_and_truth():
    x = Tensor(2.5)
    assert (float(x), int(x), complex(x), bool(x), x.item()) == (2.5, 2, 2.5 + 0j, True, 2.5)
    assert [10, 20, 30][Tensor(1)] == 20
    with pytest.raises(TypeError, match="0-d integer"):
        [1][x]
    with pytest.raises(tn.ShapeError, match=r"one element, got shape \(2,\)"):
        Tensor([1.0, 2.0]).item()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(Tensor([1.0, 2.0]))
    with pytest.raises(TypeError, match="len"):
        len(x)
    assert len(Tensor([1.0, 2.0])) == 2
    assert [t.item() for t in Tensor([1.0, 2.0])] == [1.0, 2.0]


def test_shape_and_transposes():
    x = Tensor(np.ones((2, 3)))
    assert (x.shape, x.ndim, x.size, x.T.shape, x.mT.shape) == ((2, 3), 2, 6, (3, 2), (3, 2))
    with pytest.raises(tn.ShapeError, match="two axes"):
        _ = Tensor(np.ones((2, 3, 4))).T


def test_numpy_and_dlpack_exchange():
    x = Tensor(rng.normal(size=(2, 3)))
    assert np.asarray(x) is not None
    np.testing.assert_array_equal(np.asarray(x), x.data)
    assert np.shares_memory(np.from_dlpack(x), x.data)
    assert np.shares_memory(tn.from_dlpack(x.data).data, x.data)
    torch = pytest.importorskip("torch")
    t = torch.from_dlpack(x)
    np.testing.assert_array_equal(t.numpy(), x.data)
    np.testing.assert_array_equal(tn.from_dlpack(t).data, x.data)


def test_deepcopy_and_pickle():
    x = Tensor(rng.normal(size=3), requires_grad=True, name="x")
    tn.tanh(x).backward(rng.normal(size=3))
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        np.testing.assert_array_equal(other.data, x.data)
        np.testing.assert_array_equal(other.grad.data, x.grad.data)
        assert other.requires_grad
        assert other.name == "x"
        assert not np.shares_memory(other.data, x.data)


def test_detach_shares_and_requires_grad_switches():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    assert x.detach().data is x.data
    assert not x.detach().requires_grad
    x.requires_grad_(False)
    assert not (x * 2).requires_grad
    x.requires_grad_()
    assert (x * 2).requires_grad
    with pytest.raises(RuntimeError, match="detach"):
        (x * 2).requires_grad_(False)


def test_hooks_see_the_complete_gradient_in_order_and_may_replace_it():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    y = x * 2
    z = y * 3 + y * 4
    seen = []
    y.register_hook(lambda g: seen.append(g.data.copy()))
    handle = y.register_hook(lambda g: g * 10)
    g = rng.normal(size=3)
    z.backward(g, retain_graph=True)
    np.testing.assert_allclose(seen[0], 7 * g)
    np.testing.assert_allclose(x.grad.data, 2 * 10 * 7 * g)
    handle.remove()
    x.grad = None
    z = y * 3
    z.backward(g, retain_graph=True)
    np.testing.assert_allclose(x.grad.data, 6 * g)
    x.register_hook(lambda g: g[:2])
    with pytest.raises(tn.ShapeError, match=r"a hook returned a gradient of shape \(2,\)"):
        z.backward(g)


def test_hooks_take_part_in_second_order():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    y = x * x
    y.register_hook(lambda g: g * x)
    v = rng.normal(size=3)
    (dx,) = tn.grad(y, x, v, create_graph=True)  # v x 2x
    (ddx,) = tn.grad(dx, x, np.array([1.0, 0.0, -2.0]))
    np.testing.assert_allclose(ddx.data, v * 4 * x.data * [1.0, 0.0, -2.0])


def test_devices_and_dtypes_by_to():
    x = Tensor([1.0], requires_grad=True)
    y = x.to(np.float64)
    assert y.dtype == np.float64
    assert x.to("cpu") is x
    y.backward(np.array([3.0]))
    assert x.grad.dtype == np.float32
    assert x.grad.item() == 3.0


def test_numbers_are_printed_by_a_format():
    assert f"{Tensor(1.25):.3f} {Tensor([7]):03d}" == "1.250 007"
    assert f"{Tensor([1.0, 2.0])}" == "Tensor([1., 2.])"
    with pytest.raises(tn.ShapeError, match="one element"):
        f"{Tensor([1.0, 2.0]):.3f}"


def test_functions_that_are_no_methods():
    with pytest.raises(AttributeError, match=r"no attribute 'exp': write tinygrad_nlp\.exp\(x\)"):
        Tensor([1.0]).exp()
    with pytest.raises(AttributeError, match=r"no attribute 'shapes'$"):
        _ = Tensor([1.0]).shapes
    with pytest.raises(TypeError, match="Weight: Tensor has no subclasses"):
        type("Weight", (Tensor,), {})


def test_what_a_hook_returns_and_what_grad_is_set_to_become_tensors():
    x = Tensor([1.0, 2.0], requires_grad=True)
    x.grad = np.zeros(2)
    assert type(x.grad) is Tensor
    with pytest.raises(tn.ShapeError, match=r"gradient of shape \(\).*None removes it"):
        x.grad = 0
    y = x * 3
    y.register_hook(lambda g: g.data * np.float64(2))
    y.backward(np.array([1.0, 0.5]))
    np.testing.assert_array_equal(x.grad.data, [6.0, 3.0])
    assert x.grad.dtype == np.float32


def test_a_list_of_tracked_tensors_would_cut_the_graph():
    a = Tensor(1.0, requires_grad=True)
    for make in (Tensor, tn.asarray, lambda rows: tn.add(rows, 1)):
        with pytest.raises(RuntimeError, match=r"would cut the graph: stack or concat them"):
            make([[a, a * 2]])
    with tn.no_grad():
        assert Tensor([a, a]).shape == (2,)


def test_a_retained_gradient_is_the_one_after_the_hooks():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    g = rng.normal(size=3)
    y.backward(g)
    np.testing.assert_allclose(y.grad.data, 10 * g)
    np.testing.assert_allclose(x.grad.data, 20 * g)
