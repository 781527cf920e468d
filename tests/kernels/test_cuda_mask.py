"""Dropout's mask by the CUDA kernel is `philox.keep_mask`, bit for bit, wherever it begins and ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nlp_kernels.common import mask
from nlp_kernels.common.philox import keep_mask, words
from nlp_kernels.common.xp import dropout_mask
from nlp_kernels.simulator import RawModule, SimulatorError, simulate, translate
from simulated import needs_simulator

from benchmarks.nvrtc import ARCHITECTURES, NotThereError, compile_source, library

LAST = 2**64 - 1


@needs_simulator()
@pytest.mark.parametrize("order", ["forward", "random:1"])
@settings(max_examples=25)
@given(
    p=st.sampled_from([0.0, 2.0**-40, 0.1, 0.5, 1 - 2.0**-33, 1.0]),
    seed=st.sampled_from([0, 7, LAST]),
    offset=st.sampled_from([0, 1, 2, 3, 4, 2**34 - 4, 2**40 + 3]),
    shape=st.sampled_from([(), (0,), (3,), (4,), (7, 1), (3, 5), (2, 3, 200), (3100,)]),
)
def test_it_is_the_hosts_mask(order, p, seed, offset, shape):
    with simulate(order):
        keep = mask.keep_mask(np.ones(1, np.float32), p, seed, offset, shape)
    np.testing.assert_array_equal(keep, keep_mask(p, seed, offset, shape))


@needs_simulator()
def test_it_serves_arrays_of_a_gpu(any_cupy):
    x = any_cupy.ones((3, 50), np.float32)
    keep = dropout_mask(x, 0.4, 3, 8, x.shape)
    assert type(keep) is any_cupy.ndarray
    np.testing.assert_array_equal(keep.get(), keep_mask(0.4, 3, 8, x.shape))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], not 1.5"):
        dropout_mask(x, 1.5, 3, 8, x.shape)


PLANTED = {
    "nine rounds": ("round < 10", "round < 9"),
    "a key too many": ("k1 += 0xBB67AE85u", "k1 += 0x9E3779B9u"),
    "the words of the next block": ("philox(first + b, seed)", "philox(first + b + 1, seed)"),
    "greater, not at least": ("unsigned>(words.w[j] >= threshold)", "unsigned>(words.w[j] > threshold)"),
    "the phase forgotten": ("i = 4 * b - phase", "i = 4 * b"),
    "an entry past the end": ("i + j < n) keep", "i + j <= n) keep"),
}


@needs_simulator()
@pytest.mark.parametrize("name", PLANTED)
def test_planted_bugs_are_caught(name):
    right, wrong = PLANTED[name]
    code = translate.flatten(mask.SOURCE.code, [mask.SOURCE.path.parent])
    assert right in code
    threshold = int(words(7, 0, 40)[5])  # a word that is just reached
    kernel = RawModule(code=code.replace(right, wrong), name_expressions=("keep_mask",)).get_function("keep_mask")
    found = False
    for offset, n in ((0, 40), (2, 37), (5, 6)):
        keep = np.zeros(n, bool)
        try:
            kernel((2,), (32,), (keep, np.int64(n), np.uint64(7), np.uint64(offset), np.uint64(threshold)))
        except SimulatorError:
            found = True
        found |= not np.array_equal(keep, words(7, offset, n) >= threshold)
    assert found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_compiles_without_spills_or_stack(architecture):
    try:
        library()
    except NotThereError as error:
        pytest.skip(str(error))
    source = mask.SOURCE
    (usage,) = compile_source(source.code, source.options("float32"), ("keep_mask",), architecture).values()
    assert not usage.spills
    assert not usage.stack
    assert usage.registers <= 64
