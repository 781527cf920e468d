"""One pool of threads: who limits whom, from when on, and how a host program gets its own back."""

import subprocess
import sys
import textwrap

import pytest


def run(script: str, **environment: str) -> str:
    """What a script prints in a fresh process; its asserts must hold."""
    import os

    env = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")} | environment
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_changes_nothing_the_first_kernel_limits_blas_and_none_restores_it():
    run(
        """
        import numpy as np
        from threadpoolctl import threadpool_info, threadpool_limits
        threadpool_limits(limits=3, user_api="blas")  # the host program's own wish
        blas = lambda: {p["filepath"]: p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}
        before = blas()
        import sys
        import tinygrad_nlp as tn
        assert "numba" not in sys.modules
        tn.add(np.ones(3), 1)
        assert blas() == before and set(before.values()) == {3}
        with tn.use_backend("cpu"):
            tn.softmax(np.ones((2, 3)))
        assert set(blas().values()) == {1}, blas()
        tn.set_num_threads(None)
        restored = blas()
        assert restored | before == restored, (restored, before)
        tn.softmax(np.ones((2, 3), np.float32))  # a kernel that compiles later takes nothing back
        assert blas() == restored
        tn.set_num_threads(1)
        assert set(blas().values()) == {1}
        """,
        NUMBA_NUM_THREADS="2",
    )


def test_without_a_kernel_the_limit_is_that_of_blas():
    run(
        """
        import numpy as np
        import tinygrad_nlp as tn
        from threadpoolctl import threadpool_info
        tn.set_num_threads(2)
        assert {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"} == {2}
        assert tn.get_num_threads() == 2
        """,
        NUMBA_NUM_THREADS="2",
    )


def test_the_limit_rules_threads_that_other_threads_start_from():
    run(
        """
        import threading, numpy as np, tinygrad_nlp as tn
        from nlp_kernels.common.threads import workers
        assert tn.get_num_threads() == 4 and workers(100) == 4 and workers(3) == 3 and workers(0) == 1
        tn.set_num_threads(2)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(workers(100)))
        thread.start(); thread.join()
        assert seen == [2]
        tn.set_num_threads(99)
        assert tn.get_num_threads() == 4
        """,
        NUMBA_NUM_THREADS="4",
    )


def test_kernels_run_from_several_python_threads_at_once():
    run(
        """
        import numpy as np
        from concurrent.futures import ThreadPoolExecutor
        from nlp_kernels import softmax
        rng = np.random.default_rng(0)
        xs = [rng.normal(size=(100 + i, 50)) for i in range(8)]
        expected = [softmax.reference.forward(x)[0] for x in xs]
        with ThreadPoolExecutor(8) as pool:
            for _ in range(20):
                for y, e in zip(pool.map(lambda x: softmax.forward(x)[0], xs), expected):
                    np.testing.assert_allclose(y, e, rtol=1e-13)
        """,
        NUMBA_NUM_THREADS="2",
    )


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_every_threading_layer_gives_the_same_bits(layer):
    script = """
        import hashlib, numpy as np, numba
        from nlp_kernels import softmax
        from nlp_kernels.dispatch import use_backend
        with use_backend("cpu"):
            y = softmax.forward(np.random.default_rng(0).normal(size=(333, 77)))[0]
        assert numba.threading_layer() == LAYER
        print(hashlib.sha256(y.tobytes()).hexdigest())
        """
    try:
        import numba.np.ufunc.omppool  # noqa: F401
    except ImportError:
        if layer == "omp":
            pytest.skip("no OpenMP here")
    prints = {run(script.replace("LAYER", repr(layer)), NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS=n) for n in "12"}
    assert len(prints) == 1


def test_a_limit_below_one_is_refused():
    import tinygrad_nlp as tn

    with pytest.raises(ValueError, match="at least one thread is needed, got 0"):
        tn.set_num_threads(0)
