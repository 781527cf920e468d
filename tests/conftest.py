"""Fixtures of the whole suite: no test leaks global state, no gradient test uses a constant cotangent."""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # the suite runs in one process per core; before NumPy starts its threads
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait leave their core to the other process

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester", "tinygrad_nlp.testing.plugin", "standin"]

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, max_examples=30, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("few", deadline=None, max_examples=10, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("thorough", deadline=None, max_examples=1000, print_blob=True, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_data = Path(__file__).parents[2] / "shared" / "data"
if _data.is_dir():
    os.environ.setdefault("TINYGRAD_NLP_DATA", str(_data))


def _global_state() -> dict:
    from nlp_kernels import determinism, dispatch, simulator

    import tinygrad_nlp
    from tinygrad_nlp.autograd import modes

    return {
        "recording and anomaly mode": modes.mode.get(),
        "forced backends": dict(dispatch._forced.get()),
        "simulating": simulator.simulating(),
        "deterministic algorithms": determinism.deterministic(),
        "registered backends": {path: dispatch.backends(path) for path in dispatch.HOT_PATHS},
        "random state": tinygrad_nlp.random.default_generator.state,
        "NumPy error state": np.geterr(),
        "NumPy print options": np.get_printoptions(),
        "working directory": os.getcwd(),
        "environment": {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "TORCHINDUCTOR_"))},
        "threads": sorted(t.name for t in threading.enumerate() if not t.daemon),
    }


@pytest.fixture(autouse=True)
def _leaks_nothing():
    """Restart the default generator, and fail a test that leaves any global state changed."""
    import tinygrad_nlp

    tinygrad_nlp.manual_seed(0)
    before = _global_state()
    yield
    tinygrad_nlp.manual_seed(0)
    after = _global_state()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"the test leaked global state: {', '.join(changed)}"


@pytest.fixture(autouse=True)
def _random_cotangents(no_constant_cotangents):
    """Constant ones miss most wrong gradients: `@pytest.mark.constant_cotangents(why)` where it is the point."""
