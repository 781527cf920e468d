"""Functions of numbers that the compiler turns into vector instructions, for float32 and float64.

A loop with a call of the C library's `exp`, or with a maximum by comparison, runs one number at a time. These are
polynomials and selections instead: a loop over them runs as wide as the processor allows. NaN goes in, NaN comes out.

| function | error, float32 | error, float64 | where |
|---|---|---|---|
| exp | 1.1 ulp | 1.1 ulp | 0 below -87.3, -708.3 (no subnormal numbers), ∞ above 88.7, 709.7 |
| log | 0.9 ulp | 0.9 ulp | everywhere |
| sigmoid | 2.2 ulp | 2.2 ulp | 0 below -88.7, -709.7 |
| tanh | 1.4 ulp | 1.4 ulp | everywhere |
| normal (Φ) | 4.2 ulp + 0.5 z² ulp | 7 ulp + 0.5 z² ulp | 0 below -13, -38; z² from the rounding of z² |
| density (φ, of normal) | 1.5 ulp + 0.5 z² ulp | 1.5 ulp + 0.5 z² ulp | 0 beyond 13, 38 |
| inverse_root | 1.5 ulp | 1.5 ulp | everywhere |

Coefficients: minimax polynomials by the Remez algorithm in 60 digits (`tests/kernels/test_vector.py` measures the
errors against mpmath).
"""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import overload

from nlp_kernels.common.compiled import device
from nlp_kernels.common.intrinsics import exponent, scaled

f4, f8, i4, i8 = np.float32, np.float64, np.int32, np.int64
EXACT = frozenset({"contract"})  # rounding as written, but for fused multiply-adds


@device(fastmath=EXACT)
def inverse_root(x):
    """1 / √x, each rounded correctly; where a kernel may reorder, it gets an estimate and a step of Newton's."""
    return type(x)(1) / np.sqrt(x)


def exp(x):
    """eˣ = 2ⁿ eʳ with n = ⌊x / ln 2⌉ and r = x - n ln 2, |r| <= ln 2 / 2."""


def log(x):
    """ln x = k ln 2 + ln(1 + f) with 1 + f = x 2⁻ᵏ; ln(1 + f) = 2 artanh s, s = f / (2 + f), = 2s + s³ P(s²)."""


def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ), E13."""


def tanh(x):
    """x + x³ P(x²) near 0, and ±(1 - 2 / (e^(2|x|) + 1)) elsewhere."""


def normal(z):
    """(Φ(z), φ(z)): the normal distribution function ½ erfc(-z/√2), E13, and density exp(-z²/2) / √(2π).

    Φ(-|z|) = exp(-z²/2) ½ erfcx(a), a = |z|/√2, with one exponential for both. erfcx falls slowly, like 1/a, and so is
    a quotient: of two polynomials of |z| in float32, P(t) / (a + k), t = (a - k) / (a + k), in float64.
    """


@device(fastmath=EXACT)
def _exp_rest32(r):
    """eʳ for |r| <= ln 2 / 2."""
    p = f4(0.0013950465014032456)
    p = p * r + f4(0.00836888922041249845)
    p = p * r + f4(0.0416662061460797314)
    p = p * r + f4(0.166665188420624969)
    p = p * r + f4(0.500000009514932178)
    p = p * r + f4(1.0)
    return p * r + f4(1.0)


@device(fastmath=EXACT)
def _exp32(x):
    t = x * f4(1.44269504088896341) + f4(12582912)  # 1.5 2^23, to which a sum is rounded to an integer
    n = t - f4(12582912)
    r = x - n * f4(0.693145751953125)  # ln 2 in two parts, the first of which n multiplies without rounding
    r = r - n * f4(1.42860682030941723e-6)
    p = _exp_rest32(r)
    y = f4(0.0) if x < f4(-87.33654) else scaled(p, t)
    return y if x <= f4(88.72283) else x + f4(np.inf)  # ∞ above, and NaN stays


@device(fastmath=EXACT)
def _exp64(x):
    t = x * f8(1.44269504088896340736) + f8(6755399441055744)  # 1.5 2^52
    n = t - f8(6755399441055744)
    r = x - n * f8(0.693147180369123816490)
    r = r - n * f8(1.90821492927058770002e-10)
    p = f8(2.51178613252999905e-8)
    p = p * r + f8(2.76312796105377021e-7)
    p = p * r + f8(2.75572163013862448e-6)
    p = p * r + f8(0.0000248014899444671911)
    p = p * r + f8(0.000198412699173805978)
    p = p * r + f8(0.00138888889470134883)
    p = p * r + f8(0.00833333333330720776)
    p = p * r + f8(0.0416666666665154289)
    p = p * r + f8(0.166666666666666991)
    p = p * r + f8(0.500000000000001274)
    p = p * r + f8(1.0)
    p = p * r + f8(1.0)
    y = f8(0.0) if x < f8(-708.396418532264106) else scaled(p, t)
    return y if x <= f8(709.782712893383973) else x + f8(np.inf)


@device(fastmath=EXACT)
def _log32(x):
    small = x < f4(1.17549435e-38)
    m = x * f4(33554432) if small else x
    k = exponent(m)
    f = scaled(m, f4(12582912) - k) - f4(1.0)
    k = k - f4(25.0) if small else k
    s, half = f / (f4(2.0) + f), f4(0.5) * f * f
    z = s * s
    p = f4(0.298212847013073497)
    p = p * z + f4(0.399797398106882081)
    p = p * z + f4(0.666667542037484359)
    rest = s * (half + z * p) + k * f4(9.0580006145e-6)  # ln(1 + f) = f - half + s (half + z p): f is exact
    y = k * f4(0.69313812256) - ((half - rest) - f)
    y = y if x < f4(np.inf) else x
    return y if x > f4(0.0) else (f4(-np.inf) if x == f4(0.0) else f4(np.nan))


@device(fastmath=EXACT)
def _log64(x):
    small = x < f8(2.2250738585072014e-308)
    m = x * f8(18014398509481984) if small else x
    k = exponent(m)
    f = scaled(m, f8(6755399441055744) - k) - f8(1.0)
    k = k - f8(54.0) if small else k
    s, half = f / (f8(2.0) + f), f8(0.5) * f * f
    z = s * s
    p = f8(0.147339213042698934)
    p = p * z + f8(0.153205646607192988)
    p = p * z + f8(0.181832950083078036)
    p = p * z + f8(0.222222041020730659)
    p = p * z + f8(0.285714286842264637)
    p = p * z + f8(0.399999999997017786)
    p = p * z + f8(0.666666666666668559)
    rest = s * (half + z * p) + k * f8(1.90821492927058770002e-10)
    y = k * f8(0.693147180369123816490) - ((half - rest) - f)
    y = y if x < f8(np.inf) else x
    return y if x > f8(0.0) else (f8(-np.inf) if x == f8(0.0) else f8(np.nan))


@device(fastmath=EXACT)
def _tanh32(x):
    a, u = abs(x), x * x
    p = f4(-0.00571703267005539432)
    p = p * u + f4(0.0206505763342611128)
    p = p * u + f4(-0.0537434947519577857)
    p = p * u + f4(0.133314912463036414)
    p = p * u + f4(-0.333332839235391563)
    near = x + x * u * p
    far = f4(1.0) - f4(2.0) / (_exp32(a + a) + f4(1.0))
    return near if a < f4(0.625) else (far if x > f4(0.0) else -far)


@device(fastmath=EXACT)
def _tanh64(x):
    a, u = abs(x), x * x
    p = f8(6.05565022198522528e-6)
    p = p * u + f8(-0.0000302180030207906154)
    p = p * u + f8(0.000091589837117201102)
    p = p * u + f8(-0.000237030140952343139)
    p = p * u + f8(0.000589458629488165895)
    p = p * u + f8(-0.00145572761856264609)
    p = p * u + f8(0.00359211427160581666)
    p = p * u + f8(-0.00886323434154048285)
    p = p * u + f8(0.0218694884706569076)
    p = p * u + f8(-0.053968253966134549)
    p = p * u + f8(0.133333333333298899)
    p = p * u + f8(-0.333333333333333138)
    near = x + x * u * p
    far = f8(1.0) - f8(2.0) / (_exp64(a + a) + f8(1.0))
    return near if a < f8(0.625) else (far if x > f8(0.0) else -far)


@device(fastmath=EXACT)
def _normal32(z):
    a = abs(z)
    a = f4(13.2) if a > f4(13.2) else a
    c = f4(-0.5) * a * a  # never below -87.2, so that no exponent underflows
    t = c * f4(1.44269504088896341) + f4(12582912)  # as in exp, but ln 2 in one part: z² has rounded more
    r = c - (t - f4(12582912)) * f4(0.693147180559945309)
    e = scaled(_exp_rest32(r), t) + a * f4(0.0)  # NaN stays
    e = f4(0.0) if abs(z) > f4(13.2) else e
    p = f4(0.0040200876014)
    p = p * a + f4(0.0399835891306)
    p = p * a + f4(0.1813051883)
    p = p * a + f4(0.435684444431)
    p = p * a + f4(0.500000002462)
    q = f4(0.010076722036)
    q = q * a + f4(0.100231376178)
    q = q * a + f4(0.464376137292)
    q = q * a + f4(1.19447808664)
    q = q * a + f4(1.66925380693)
    q = q * a + f4(1.0)
    tail = e * (p / q)
    rest = f4(1.0) - tail
    return (rest if z > f4(0.0) else tail), f4(0.398942280401432678) * e


@device(fastmath=EXACT)
def _normal64(z):
    a = abs(z) * f8(0.707106781186547524401)
    a = f8(27.3) if a > f8(27.3) else a
    b = f8(1.0) / (a + f8(4.0))
    t = (a - f8(4.0)) * b
    p = f8(8.41844040186628125e-10)
    p = p * t + f8(-8.39840276210099625e-10)
    p = p * t + f8(-1.52315593847329697e-8)
    p = p * t + f8(3.88239121340614578e-9)
    p = p * t + f8(1.24308379422963577e-7)
    p = p * t + f8(-7.94893590621052816e-8)
    p = p * t + f8(-8.46797895360629015e-7)
    p = p * t + f8(1.42709358842459382e-6)
    p = p * t + f8(4.69498442497792696e-6)
    p = p * t + f8(-0.0000188621902899083375)
    p = p * t + f8(-3.6354486355872946e-6)
    p = p * t + f8(0.00017681319083008139)
    p = p * t + f8(-0.000455052606899615138)
    p = p * t + f8(-0.000280958932857601849)
    p = p * t + f8(0.00611205564330550864)
    p = p * t + f8(-0.0263700533329013471)
    p = p * t + f8(0.0763815149104097721)
    p = p * t + f8(-0.174010937240390771)
    p = p * t + f8(0.330851587877963832)
    p = p * t + f8(-0.540853831313222035)
    p = p * t + f8(0.773208702265237894)
    p = p * t + f8(-0.976548729080882106)
    p = p * t + f8(1.09599566100049112)
    e = _exp64(f8(-0.5) * z * z)
    tail = f8(0.5) * e * (p * b)
    rest = f8(1.0) - tail
    return (rest if z > f8(0.0) else tail), f8(0.398942280401432677940) * e


@device(fastmath=EXACT)
def _sigmoid32(x):
    return f4(1.0) / (f4(1.0) + _exp32(-x))


@device(fastmath=EXACT)
def _sigmoid64(x):
    return f8(1.0) / (f8(1.0) + _exp64(-x))


def _by_type(function, single, double):
    """`function(x)` in a kernel is `single` for a float32, `double` for a float64."""

    @overload(function, jit_options={"forceinline": True})
    def chosen(x):
        ours = single if x == types.float32 else double
        return lambda x: ours(x)

    return chosen


_by_type(exp, _exp32, _exp64)
_by_type(log, _log32, _log64)
_by_type(sigmoid, _sigmoid32, _sigmoid64)
_by_type(tanh, _tanh32, _tanh64)


@overload(normal, jit_options={"forceinline": True})
def _normal(z):
    ours = _normal32 if z == types.float32 else _normal64
    return lambda z: ours(z)
