"""What the tests of models share: weights that all matter, and a twin that must have the same loss and gradients."""

import numpy as np

from tinygrad_nlp.random import Generator


def shaken(model, by=0.3):
    """The model in float64 and evaluation mode, its weights large enough that every part of it matters."""
    model, generator = model.to(dtype="float64"), Generator(3)
    for p in model.parameters():
        p.data[...] += by * generator.normal(p.shape, dtype=np.float64)
    return model.eval()


def loaded(twin, model):
    """A PyTorch module in float64 with the model's weights."""
    import torch

    twin.double().load_state_dict({name: torch.tensor(p) for name, p in model.state_dict().items()})
    return twin


def assert_same(loss, model, theirs, twin):
    """The loss and every gradient are those of the twin."""
    np.testing.assert_allclose(loss.item(), theirs.item(), rtol=1e-12)
    loss.backward()
    theirs.backward()
    assert_same_gradients(model, twin)


def assert_same_gradients(model, twin):
    """Every gradient is the twin's, and neither has a parameter more."""
    wanted = dict(twin.named_parameters())
    assert wanted.keys() == dict(model.named_parameters()).keys()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), wanted[name].grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
