"""Kernels that run on workers by themselves: once for each, on views and scalars of every kind, cached like others."""

import numpy as np
from nlp_kernels.common.compiled import kernel


@kernel("y[W,N] | x(N,M) factor first:int64[N] mask:bool[N] flag:bool", spread=True)
def _sums(w, y, x, factor, first, mask, flag):
    for n in range(x.shape[0]):
        total = x.dtype.type(0)
        for m in range(x.shape[1]):
            total += x[n, m]
        y[w, n] = total * factor + w + first[n] if mask[n] and flag else -factor


def test_each_worker_runs_once_with_all_arguments(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_NLP_CACHE", str(tmp_path))
    for _ in range(2):  # compiled, then read back
        _sums.compiled.clear()
        for dtype in (np.float32, np.float64):
            x, first = np.arange(24, dtype=dtype).reshape(4, 6)[::-1, ::2], np.arange(4)
            mask, y = np.array([True, False, True, True]), np.zeros((5, 4), dtype)
            _sums(5, y, x, 0.5, first, mask, True)
            expected = np.where(mask, x.sum(axis=1) * 0.5 + np.arange(5)[:, None] + first, -0.5)
            np.testing.assert_array_equal(y, expected)
    assert len(list(tmp_path.rglob("*.nbc"))) == 4  # the kernel and what calls it, for two dtypes
    _sums.compiled.clear()
