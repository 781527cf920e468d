"""Property-based gradient tests: strategies for the arrays that break gradients, and an assertion over them.

    from tinygrad_nlp.testing import arrays, assert_gradients, shapes

    def test_my_function():
        assert_gradients(my_function, arrays(shapes(min_dims=1)), order=2)

In `conftest.py`, `pytest_plugins = ["tinygrad_nlp.testing.plugin"]` adds the fixture `no_constant_cotangents`.
"""

try:
    import hypothesis as _  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "tinygrad_nlp.testing draws its cases with Hypothesis: pip install hypothesis", name="hypothesis"
    ) from error

from tinygrad_nlp.testing.constant import refuse_constant_cotangents
from tinygrad_nlp.testing.gradients import assert_gradients
from tinygrad_nlp.testing.strategies import LAYOUTS, VALUES, arrays, broadcastable_shapes, cotangents, shapes

__all__ = [
    "LAYOUTS",
    "VALUES",
    "arrays",
    "assert_gradients",
    "broadcastable_shapes",
    "cotangents",
    "refuse_constant_cotangents",
    "shapes",
]
