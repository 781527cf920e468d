"""A pytest plugin: `pytest_plugins = ["tinygrad_nlp.testing.plugin"]` in the top `conftest.py`.

To refuse constant cotangents in every test, add there

    @pytest.fixture(autouse=True)
    def _random_cotangents(no_constant_cotangents):
        pass

and mark the few tests that need one: `@pytest.mark.constant_cotangents("why")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tinygrad_nlp.testing.constant import refuse_constant_cotangents


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "constant_cotangents(reason): lets a test use constant cotangents")


@pytest.fixture
def no_constant_cotangents(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test with this fixture fails where it hands `grad` or `backward` a cotangent of several equal numbers."""
    allowed = request.node.get_closest_marker("constant_cotangents") is not None
    with nullcontext() if allowed else refuse_constant_cotangents():
        yield
