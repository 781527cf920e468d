"""Two layers with the same weights, ours and PyTorch's: values and all gradients are compared number by number."""

import numpy as np
import pytest

from tinygrad_nlp import Tensor

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def tensors(*arrays, requires_grad=True):
    """The same arrays as Tensors and as PyTorch's; integers and masks require no gradient."""
    ours = [Tensor(a, requires_grad=requires_grad and a.dtype.kind == "f") for a in arrays]
    theirs = [torch.tensor(a, requires_grad=requires_grad and a.dtype.kind == "f") for a in arrays]
    return ours, theirs


def host(x):
    """The numbers of a Tensor, of PyTorch or ours."""
    return x.detach().numpy()


def take_weights(ours, theirs):
    """Load PyTorch's weights by their names, unchanged; the names must agree, and so must their order."""
    state = {name: host(values) for name, values in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    for (name, p), (their_name, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (name, p.shape) == (their_name, tuple(q.shape))


def assert_same_function(ours, theirs, arrays, rng, close=CLOSE):
    """f(x) and <g, df> for a random g: equal for ours and PyTorch's function of the same arrays."""
    xs, zs = tensors(*arrays)
    y, z = ours(*xs), theirs(*zs)
    assert y.shape == tuple(z.shape)
    assert str(y.dtype) == str(z.dtype).removeprefix("torch.")
    np.testing.assert_allclose(host(y), host(z), **close)
    if not z.requires_grad:
        assert not y.requires_grad
        return
    g = rng.normal(size=y.shape)
    y.backward(g)
    z.backward(torch.tensor(g))
    for x, t in zip(xs, zs, strict=True):
        if t.grad is not None:
            np.testing.assert_allclose(host(x.grad), host(t.grad), **close)


def assert_same_layer(ours, theirs, arrays, rng, close=CLOSE):
    """The function, and the gradients of all parameters, of two layers after PyTorch's weights were taken over."""
    ours, theirs = ours.to(dtype="float64"), theirs.double()
    take_weights(ours, theirs)
    assert_same_function(ours, theirs, arrays, rng, close)
    assert_same_gradients(ours, theirs, close)


def assert_same_gradients(ours, theirs, close=CLOSE):
    """The gradients that `backward` left in the parameters of two layers."""
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        np.testing.assert_allclose(host(p.grad), host(q.grad), err_msg=name, **close)
