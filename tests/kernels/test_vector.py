"""The vectorised functions against 50 digits: the errors that their table states, limits, NaN, infinities, zeros."""

import importlib
import re
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

pytest.importorskip("numba")

from nlp_kernels.common import vector
from nlp_kernels.common.compiled import kernel
from nlp_kernels.common.intrinsics import maximum

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


@kernel("y[N] | x[N]")
def exp(y, x):
    for i in range(len(x)):
        y[i] = vector.exp(x[i])


@kernel("y[N] | x[N]")
def log(y, x):
    for i in range(len(x)):
        y[i] = vector.log(x[i])


@kernel("y[N] | x[N]")
def sigmoid(y, x):
    for i in range(len(x)):
        y[i] = vector.sigmoid(x[i])


@kernel("y[N] | x[N]")
def tanh(y, x):
    for i in range(len(x)):
        y[i] = vector.tanh(x[i])


@kernel("y[N] | x[N]")
def normal(y, x):
    for i in range(len(x)):
        y[i] = vector.normal(x[i])[0]


@kernel("y[N] | x[N]")
def density(y, x):
    for i in range(len(x)):
        y[i] = vector.normal(x[i])[1]


@kernel("y[N] | x[N]")
def inverse_root(y, x):
    for i in range(len(x)):
        y[i] = vector.inverse_root(x[i])


@kernel("m[M] | x[N]")
def largest(m, x):
    m[0] = -np.inf
    for i in range(len(x)):
        m[0] = maximum(m[0], x[i])


EXACT = {
    exp: mpmath.exp,
    log: mpmath.log,
    sigmoid: lambda x: 1 / (1 + mpmath.exp(-x)),
    tanh: mpmath.tanh,
    normal: lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    density: lambda x: mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi),
    inverse_root: lambda x: 1 / mpmath.sqrt(x),
}
FUNCTIONS = pytest.mark.parametrize("function", EXACT, ids=lambda f: f.__name__)
# where a function neither underflows nor overflows
RANGES = {
    exp: {np.float32: (-87.336, 88.722), np.float64: (-708.396, 709.782)},
    sigmoid: {np.float32: (-87.3, 40.0), np.float64: (-708.3, 50.0)},
    tanh: {np.float32: (-12.0, 12.0), np.float64: (-24.0, 24.0)},
    normal: {np.float32: (-13.0, 7.0), np.float64: (-37.5, 10.0)},
    density: {np.float32: (-13.0, 13.0), np.float64: (-37.5, 37.5)},
}


def values(function, x):
    y = np.empty_like(x)
    function(y, x)
    return y


def samples(function, dtype, n):
    """Evenly over the whole range, and as many of every magnitude; every magnitude of a positive number, and near 1."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    if function not in RANGES:
        magnitudes = np.exp2(rng.uniform(info.minexp, info.maxexp, n // 2))
        return np.concatenate([magnitudes, rng.uniform(0.5, 2, n // 2)]).astype(dtype)
    low, high = RANGES[function][dtype]
    small = np.exp2(rng.uniform(-30, 0, n // 2)) * rng.choice([low, high], n // 2)
    return np.concatenate([rng.uniform(low, high, n // 2), small, [low, high]]).astype(dtype)


def errors(function, x):
    """In units of the last place of the right result."""
    with mpmath.workdps(50):
        right = [EXACT[function](mpmath.mpf(float(v))) for v in x]
        off = [abs(float(mpmath.mpf(float(y)) - r)) for y, r in zip(values(function, x), right, strict=True)]
    return np.array(off) / np.spacing(np.abs(np.array([float(r) for r in right]).astype(x.dtype))).astype(np.float64)


def stated(function, dtype):
    """(a, b) of the table in the module's text: an error of a + b x² ulp."""
    row = next(line for line in vector.__doc__.splitlines() if line.startswith(f"| {function.__name__} "))
    cell = row.split("|")[2 if dtype == np.float32 else 3]
    numbers = re.fullmatch(r" ([\d.]+) ulp(?: \+ ([\d.]+) z² ulp)? ", cell)
    return float(numbers[1]), float(numbers[2] or 0)


@DTYPES
@FUNCTIONS
def test_the_table_states_the_errors(function, dtype):
    x = samples(function, dtype, 10_000)
    a, b = stated(function, dtype)
    share = errors(function, x) / (a + b * x.astype(np.float64) ** 2 if b else a)
    assert share.max() <= 1, f"{share.max() * a:.3g} ulp at {x[share.argmax()]!r}"
    assert share.max() >= 0.6, f"the table is too modest: {share.max() * a:.3g} ulp"


@DTYPES
def test_limits(dtype):
    T, inf, nan = dtype, np.inf, np.nan
    most = np.finfo(T).max
    x = np.array([-inf, -most, -1e5, 1e5, most, inf], T)
    np.testing.assert_array_equal(values(exp, x), [0, 0, 0, inf, inf, inf])
    np.testing.assert_array_equal(values(sigmoid, x), [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(values(tanh, x), [-1, -1, -1, 1, 1, 1])
    np.testing.assert_array_equal(values(normal, x), [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(values(density, x), [0] * 6)
    of_log = np.array([0.0, -0.0, -1.0, -inf, inf, 1.0], T)
    np.testing.assert_array_equal(values(log, of_log), [-inf, -inf, nan, nan, inf, 0])
    np.testing.assert_array_equal(values(inverse_root, np.array([0.0, inf, -1.0, 4.0], T)), [inf, 0, nan, 0.5])
    assert np.isclose(values(log, np.array([most], T))[0], np.log(most))


@DTYPES
@pytest.mark.parametrize("function", [exp, sigmoid, tanh, normal, density], ids=lambda f: f.__name__)
def test_zero_and_its_sign(function, dtype):
    y = values(function, np.array([0.0, -0.0], dtype))
    right = float(EXACT[function](mpmath.mpf(0)))
    np.testing.assert_allclose(y, right, rtol=4 * np.finfo(dtype).eps)
    if function in (exp, sigmoid, tanh):
        np.testing.assert_array_equal(y, right)


@DTYPES
@FUNCTIONS
def test_nan_stays_whatever_its_bits(function, dtype):
    """In every place of a vector and of the numbers that are left over, and beside others that stay as they are."""
    x = np.full(67, 0.5, dtype)
    bits = x.view(f"u{x.itemsize}")
    for place, payload in enumerate(np.random.default_rng(0).integers(1, 2**21, 67)):
        x[:] = 0.5
        y = values(function, x)
        bits[place] = np.array(np.nan, dtype).view(bits.dtype) | payload.astype(bits.dtype)
        z = values(function, x)
        assert np.isnan(z[place])
        np.testing.assert_array_equal(np.delete(z, place), np.delete(y, place))


@DTYPES
def test_exp_at_its_ends(dtype):
    """The last numbers with a result, and the first without."""
    T = dtype
    least, most = np.log(np.longdouble(np.finfo(T).tiny)), np.log(np.longdouble(np.finfo(T).max))
    around = [T(end) + k * np.spacing(T(end)) for end in (least, most) for k in range(-4, 5)]
    x = np.sort(np.array(around, T))
    y, right = values(exp, x), np.exp(x.astype(np.longdouble))
    assert np.all(y[:-1] <= y[1:])
    under, over = right < np.finfo(T).tiny, right > np.finfo(T).max
    assert np.all((y[under] == 0) | (np.abs(y[under] / right[under] - 1) < 4 * np.finfo(T).eps))
    assert np.all(np.isinf(y[over]))
    inside = ~under & ~over
    assert np.all(np.abs(y[inside] / right[inside] - 1) < 2 * np.finfo(T).eps)


@DTYPES
def test_log_of_subnormal_numbers(dtype):
    x = np.array([np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny / 3, np.finfo(dtype).tiny], dtype)
    np.testing.assert_allclose(values(log, x), np.log(x.astype(np.longdouble)), rtol=2 * np.finfo(dtype).eps)


@DTYPES
def test_the_sign_goes_through_tanh(dtype):
    x = samples(tanh, dtype, 2000)
    np.testing.assert_array_equal(values(tanh, -x), -values(tanh, x))


@DTYPES
@pytest.mark.parametrize("n", [1, 7, 16, 67])
def test_maximum(dtype, n):
    rng = np.random.default_rng(0)
    for x in (rng.normal(size=n), np.full(n, -np.inf), rng.choice([-np.inf, np.inf, 0.0], n)):
        m = np.empty(1, dtype)
        largest(m, x.astype(dtype))
        assert m[0] == x.astype(dtype).max()


@pytest.mark.parametrize(
    ("right", "wrong"), [("0.166665188420624969", "0.166667"), ("1.42860682030941723e-6", "1.43e-6")]
)
def test_a_constant_that_is_slightly_wrong_is_caught(monkeypatch, tmp_path, right, wrong):
    """The measurement of the errors sees a coefficient that is off in its third to sixth digit."""
    text = Path(vector.__file__).read_text()
    assert right in text
    (tmp_path / "wrong_vector.py").write_text(text.replace(right, wrong))
    monkeypatch.syspath_prepend(tmp_path)
    exp32 = importlib.import_module("wrong_vector")._exp32
    sys.modules.pop("wrong_vector")

    def exp(y, x):
        y[:] = [exp32(v) for v in x]

    monkeypatch.setitem(EXACT, exp, mpmath.exp)
    monkeypatch.setitem(RANGES, exp, {np.float32: (-80.0, 80.0)})
    with pytest.raises(AssertionError, match="ulp at"):
        test_the_table_states_the_errors(exp, np.float32)
