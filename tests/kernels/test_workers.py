"""The number of threads changes no bit of a result, on more threads than there are processors."""

import os
import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import numpy as np
from nlp_kernels import adamw, cross_entropy, dispatch, embedding, layer_norm, softmax
from nlp_kernels.common import threads

rng = np.random.default_rng(0)


def results(*arrays):
    return [a.copy() for a in arrays if a is not None]


def assert_same_bits(run, repetitions=3):
    threads.set_num_threads(1)
    expected = run()
    for n in (1, 2, 4, 8):
        threads.set_num_threads(n)
        assert threads.workers(10**9) == n
        for _ in range(repetitions):
            for a, b in zip(run(), expected, strict=True):
                assert np.array_equal(a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}")), f"{n} threads differ"
    return expected
"""

SCRIPTS = {
    "softmax": """
        x, dy = rng.normal(size=(2, 1003, 257)).astype(np.float32)

        def run():
            y, saved = softmax.forward(x)
            return results(y, *softmax.backward(dy, x, None, saved))

        assert_same_bits(run)
        """,
    "layer_norm": """
        x, residual, dy, dh = rng.normal(size=(4, 1003, 257)).astype(np.float32)
        gamma, beta = rng.normal(size=(2, 257)).astype(np.float32)

        def run():
            (y, h), saved = layer_norm.forward(x, gamma, beta, residual)
            gradients = layer_norm.backward((dy, dh), x, gamma, beta, residual, saved)
            return results(y, h, *saved, *gradients)

        assert_same_bits(run)
        """,
    "cross_entropy": """
        x, dloss = rng.normal(size=(5003, 65)).astype(np.float32), rng.normal(size=5003).astype(np.float32)
        target = np.where(rng.random(5003) < 0.1, -100, rng.integers(0, 65, 5003))

        def run():
            loss, saved = cross_entropy.forward(x, target, label_smoothing=0.1)
            return results(loss, *saved, *cross_entropy.backward(dloss, x, target, saved, label_smoothing=0.1))

        assert_same_bits(run)
        """,
    "adamw": """
        theta, g, m, v = rng.random((4, 300_007)).astype(np.float32)
        hyper = dict(t=3, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.1)
        assert_same_bits(lambda: results(*adamw.step(theta, g, m, v, **hyper)))
        """,
    "embedding": """
        N, V, D = 1_250_000, 1000, 16  # 20 million numbers, of which row 7 has a tenth
        table, dy = rng.normal(size=(V, D)).astype(np.float32), rng.normal(size=(N, D)).astype(np.float32)
        indices = np.where(rng.random(N) < 0.1, 7, rng.integers(0, V, N))

        def run():
            y, saved = embedding.forward(table, indices)
            return results(y, *embedding.backward(dy, table, indices, saved))

        y, dtable = assert_same_bits(run, repetitions=5)
        in_order = np.zeros_like(table)
        np.add.at(in_order, indices, dy)
        assert np.array_equal(dtable, in_order) and np.array_equal(y, table[indices])
        """,
    "embedding with a race": """
        from numba import njit, prange

        @njit(parallel=True)
        def racy(dy, indices, dtable, workers):
            N, D = dy.shape
            for w in prange(workers):
                for n in range(w * N // workers, (w + 1) * N // workers):
                    for d in range(D):
                        dtable[indices[n], d] += dy[n, d]
            return dtable

        dy, indices = rng.normal(size=(200_000, 4)), rng.integers(0, 3, 200_000)
        assert_same_bits(lambda: [racy(dy, indices, np.zeros((3, 4)), threads.workers(8))])
        """,
}


@pytest.mark.parametrize("work", SCRIPTS)
def test_the_number_of_threads_changes_no_bit(work):
    pytest.importorskip("numba")
    script = PREAMBLE + textwrap.dedent(SCRIPTS[work])
    environment = os.environ | {"NUMBA_NUM_THREADS": "8"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    if "race" in work:  # the test can fail
        assert "threads differ" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
