"""The same numbers from CuPy arrays, of its stand-in or a GPU: functions, layers, losses, optimisers and clipping."""

from __future__ import annotations

import pytest
from test_oracle import CASES, ROUNDINGS, TinygradNLP, disagreements

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor


class OnDevice(TinygradNLP):
    """Every array on the GPU: indices, targets, masks and states too."""

    def leaf(self, array):
        return self.constant(array).requires_grad_()

    def constant(self, array):
        return Tensor(array.copy()).to("cuda")

    def numbers(self, x):
        assert x.device == "cuda:0"
        return x.detach().to("cpu").numpy()

    def in_float64(self, module):
        return module.to("cuda", "float64") if list(module.parameters()) else module


NAMES = [name for name in dict.fromkeys(case.row for case in CASES) if name != "to_device"]


@pytest.mark.parametrize("name", NAMES)
def test_pytorch_agrees(name, any_cupy):
    few = 8 * ROUNDINGS  # the readable references round more often than the CPU's kernels
    with tn.use_backend("reference"):
        wrong = [line for case in CASES if case.row == name for line in disagreements(case, OnDevice(), few)]
    assert not wrong, "\n".join(wrong)
