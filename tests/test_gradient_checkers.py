"""The bugs of the checkers' benchmark are caught, correct code is not accused, and layers are checked whole."""

import numpy as np
import pytest

from benchmarks.gradient_bugs import BUGS, CORRECT, right
from benchmarks.gradient_checkers import LAYERS, layer_check, ours


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_is_caught(bug):
    with np.errstate(all="ignore"), pytest.raises(AssertionError, match="gradient"):
        ours(bug.planted(), bug.work, 0)


@pytest.mark.parametrize("work", CORRECT, ids=lambda work: f"{work.hot_path} {work.hyper}")
def test_correct_code_is_not_accused(work):
    for seed in range(3):
        ours(right(work), work, seed)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_checked_by_all_inputs_and_parameters_to_order_two(name):
    rows = layer_check(name)(0).rows
    first, second = ([row.argument for row in rows if row.order == order] for order in (1, 2))
    assert len(first) == {"Linear(8, 8)": 3, "LayerNorm(8)": 3, "MultiheadAttention(8, 2)": 5}[name]
    assert second[: len(first)] == first
    assert second[-1].startswith("g ")
