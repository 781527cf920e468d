"""A GPT equals its PyTorch twin, gradient by gradient and step by step."""

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp.models.gpt import GPT, GPTConfig

torch = pytest.importorskip("torch")


def test_every_gradient_equals_the_twins():
    from benchmarks.peers.torch_gpt import twin_of

    model = GPT(GPTConfig(vocab_size=11, block_size=9, n_layer=3, n_head=2, n_embd=8)).to(dtype=np.float64)
    for p in model.parameters():  # the initialisation leaves biases at 0: make every gradient matter
        with tn.no_grad():
            p += tn.random.default_generator.normal(p.shape, std=0.3, dtype=np.float64)
    twin = twin_of(model)
    tokens, targets = np.random.default_rng(0).integers(0, 11, (2, 4, 9))
    loss = model.loss(tokens, targets)
    loss.backward()
    their_loss = twin.loss(torch.from_numpy(tokens), torch.from_numpy(targets))
    their_loss.backward()
    np.testing.assert_allclose(loss.item(), their_loss.item(), rtol=1e-13)
    theirs = dict(twin.named_parameters())
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad.data, theirs[name].grad.numpy(), rtol=1e-9, atol=1e-13, err_msg=name)


def test_two_hundred_training_steps_stay_together():
    from benchmarks.gpt_parity import losses

    ours, theirs = losses(200, batch=2)
    assert np.abs(np.array(ours) - theirs).max() < 1e-3
    assert np.mean(ours[-10:]) < ours[0] - 1
