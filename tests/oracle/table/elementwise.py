"""Functions of each element. Extremes follow the domain; shapes are 0-d, broadcast, of size 1 and empty."""

from __future__ import annotations

from table import SAME, call, function
from table.draws import apart, mask, points, uniform


def one(ours, low, high, *extremes, theirs=SAME):
    """A function of one array, on numbers from low to high and on extremes"""
    shapes = [(), (2, 3), (1, 4, 1), (0, 3)]
    drawn = [call(x=uniform(*shape, low=low, high=high)) for shape in shapes]
    return function(ours, theirs, *drawn, call(x=points(*extremes)))


def two(ours, a, b, *more, theirs=SAME, draw=uniform):
    """A function of two arrays that broadcast; `a` and `b` are the options of their draws"""
    shapes = [((), ()), ((2, 3), (3,)), ((3, 1), (1, 4)), ((2, 3), ()), ((0, 3), (1, 3)), ((1,), (2, 1, 3))]
    return function(ours, theirs, *(call(a=draw(*s, **a), b=draw(*t, **b)) for s, t in shapes), *more)


ANY, POSITIVE = {"low": -3.0, "high": 3.0}, {"low": 0.3, "high": 3.0}
BELOW_1, ABOVE_1 = 0.999, 1.001

ROWS = [
    one("positive(x)", -3, 3, -1e300, -1e-300, 1e300),
    one("negative(x)", -3, 3, -1e300, -1e-300, 1e300),
    one("real(x)", -3, 3, -1e300, -1e-300, 1e300),
    one("conj(x)", -3, 3, -1e300, -1e-300, 1e300),
    one("square(x)", -3, 3, -1e150, -1e-150, 1e-9, 1e9),
    one("reciprocal(x)", 0.3, 3, -1e150, -1e-150, -1e9, 1e-9),
    one("sqrt(x)", 0.2, 3, 1e-300, 1e-9, 1e9, 1e300),
    one("exp(x)", -3, 3, -700, -1e-9, 1e-300, 1e-9, 30, 700),
    one("expm1(x)", -3, 3, -700, -1e-9, 1e-300, 1e-9, 30, 700),
    one("log(x)", 0.2, 4, 1e-300, 1e-9, BELOW_1, ABOVE_1, 1e9, 1e300),
    one("log1p(x)", -0.7, 3, -BELOW_1, -1e-9, 1e-300, 1e9, 1e300),
    one("log2(x)", 0.2, 4, 1e-300, 1e-9, BELOW_1, ABOVE_1, 1e9, 1e300),
    one("log10(x)", 0.2, 4, 1e-300, 1e-9, BELOW_1, ABOVE_1, 1e9, 1e300),
    one("sin(x)", -3, 3, -1e-300, 1e-9, -50, 100),
    one("cos(x)", -3, 3, -1e-300, 1e-9, -50, 100),
    one("tan(x)", -1.2, 1.2, -1e-300, 1e-9, -50, 100),
    one("asin(x)", -0.9, 0.9, -BELOW_1, -1e-300, 1e-9, BELOW_1),
    one("acos(x)", -0.9, 0.9, -BELOW_1, -1e-300, 1e-9, BELOW_1),
    one("atan(x)", -3, 3, -1e100, -1e-300, 1e-9, 1e9),
    one("sinh(x)", -3, 3, -700, -1e-300, 1e-9, 300),
    one("cosh(x)", -3, 3, -700, -1e-300, 1e-9, 300),
    one("tanh(x)", -3, 3, -300, -15, -1e-300, 1e-9, 300),
    one("asinh(x)", -3, 3, -1e100, -1e-300, 1e-9, 1e9),
    one("acosh(x)", 1.2, 4, ABOVE_1, 1e9, 1e100),
    one("atanh(x)", -0.9, 0.9, -BELOW_1, -1e-300, 1e-9, BELOW_1),
    one("sigmoid(x)", -3, 3, -700, -40, -1e-300, 1e-9, 15, 700),
    one("log_sigmoid(x)", -3, 3, -700, -40, -1e-300, 1e-9, 40, 700, theirs="nn.functional.logsigmoid(x)"),
    one("softplus(x)", -3, 3, -700, -40, -1e-300, 1e-9, 15, theirs="nn.functional.softplus(x)"),
    one("erf(x)", -3, 3, -6, -1e-300, 1e-9, 6),
    one("gelu(x)", -3, 3, -1e-300, 1e-9, 40, theirs="nn.functional.gelu(x)"),
    one("gelu_tanh(x)", -3, 3, -1e-300, 1e-9, 40, theirs="nn.functional.gelu(x, approximate='tanh')"),
    function("relu(x)", SAME, *(call(x=x) for x in (apart(2, 3), apart(), points(-1e300, -1e-300, 1e-300, 1e300)))),
    function("abs(x)", SAME, *(call(x=x) for x in (apart(2, 3), apart(), points(-1e300, -1e-300, 1e-300, 1e300)))),
    two("add(a, b)", ANY, ANY, call(a=uniform(2), b=-2.5), call(a=2, b=uniform(2))),
    two("subtract(a, b)", ANY, ANY, call(a=uniform(2), b=-2.5), call(a=points(1e-9, 1e9), b=points(-1e9, -1e-9))),
    two(
        "multiply(a, b)", ANY, ANY, call(a=uniform(2), b=-2.5), call(a=points(1e-150, -1e150), b=points(-1e150, 1e150))
    ),
    two(
        "divide(a, b)",
        ANY,
        POSITIVE,
        call(a=uniform(2), b=-2.5),
        call(a=points(1e-100, -1e100), b=points(-1e99, 1e-99)),
    ),
    two(
        "pow(a, b)",
        POSITIVE,
        ANY,
        *(call(a=uniform(4), b=b) for b in (-2, 1, 2, 3)),
        call(a=uniform(4, low=0.1), b=-0.5),
        call(a=2.5, b=uniform(4)),
        call(a=points(1e-9, 1e9, 1e100), b=points(3, -3, 2.5)),
    ),
    two("logaddexp(a, b)", ANY, ANY, call(a=points(-700, 700, 1e-9, 300), b=points(700, 699, -1e-9, -300))),
    two("atan2(a, b)", ANY, POSITIVE, call(a=points(-1, 1e-9, -1e9, 1e9), b=points(-2, -1e9, -1e-9, 1e9))),
    two("hypot(a, b)", POSITIVE, ANY, call(a=points(-1, 1e-200, -1e200, 1e9), b=points(-2, -1e-200, 1e200, 1e-9))),
    two("copysign(a, b)", {}, {"offset": 0.1}, call(a=points(1e300, -1e-300), b=points(-1e-300, -1)), draw=apart),
    two("maximum(a, b)", {}, {"offset": 0.1}, call(a=points(-1e300, 1e-300), b=points(-1e299, -1e-300)), draw=apart),
    two("minimum(a, b)", {}, {"offset": 0.1}, call(a=points(-1e300, 1e-300), b=points(-1e299, -1e-300)), draw=apart),
    function(
        "remainder(a, b)",
        SAME,
        call(a=points(7.3, -7.3, 0.4, -1000.25), b=points(2, 2, -1, 0.5)),
        call(a=points(7.3, -7.3), b=-1.5),
        call(a=points(1.3, 2.6, -0.2), b=points(0.7)),
    ),
    function(
        "where(condition, a, b)",
        SAME,
        call(condition=mask(2, 3), a=uniform(2, 3), b=uniform(2, 3)),
        call(condition=mask(2, 1), a=uniform(3), b=uniform(4, 1, 1)),
        call(condition=mask(0, 3), a=uniform(), b=uniform(1, 3)),
    ),
    function(
        "clip(x, low, high)",
        SAME,
        call(x=apart(3, 4), low=-0.31, high=0.51),
        call(x=apart(3, 4), low=None, high=0.11),
        call(x=apart(3, 4), low=-0.11, high=None),
        call(x=apart(3, 4), low=apart(4, offset=0.1), high=points(0.7)),
        call(x=points(-1e300, -1e-300, 1e-300, 1e300), low=-1.0, high=1.0),
        call(x=apart(0), low=-1.0, high=1.0),
    ),
]
