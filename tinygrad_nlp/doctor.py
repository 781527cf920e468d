"""`tinygrad-nlp doctor`: what this machine has, what is missing, and the command that gets it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Iterator

from nlp_kernels.errors import DeviceError

NEEDED = ("scipy", "array_api_compat", "safetensors", "threadpoolctl", "rich", "matplotlib")
OPTIONAL = {  # import name: what it is for, how to get it
    "cupy": ("arrays on NVIDIA GPUs", "uv sync --extra cuda13, or pip install 'cupy-cuda13x[ctk]' (or 12)"),
    "hypothesis": ("property-based gradient tests", "pip install hypothesis"),
    "jax": ("comparisons in tests and benchmarks", "pip install jax"),
    "torch": ("comparisons in tests and benchmarks", "pip install torch"),
}


def report() -> int:
    """Print what is here; returns 1 when something is missing that the library cannot do without, else 0."""
    sections = {
        "Machine": list(_machine()),
        "NumPy": list(_numpy()),
        "CPU kernels": list(_kernels()),
        "Needed packages": [_needed(name) for name in NEEDED],
        "Optional packages": [_optional(name, *about) for name, about in OPTIONAL.items()],
        "CUDA kernels on the CPU": list(_simulator()),
        "GPU": list(_gpu()),
    }
    for title, rows in sections.items():
        print(title)
        for mark, what, found in rows:
            print(f"  {mark} {what:<18} {found}")
    bad = [what for rows in sections.values() for mark, what, _ in rows if mark == "✗"]
    print(f"\nMissing: {', '.join(bad)}" if bad else "\nEverything needed is here.")
    return 1 if bad else 0


Row = tuple[str, str, str]  # ✓ there, – optional and not there, ✗ needed and not there


def _machine() -> Iterator[Row]:
    yield "✓", "tinygrad-nlp", importlib.metadata.version("tinygrad-nlp")
    yield "✓", "Python", f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})"
    yield "✓", "system", f"{platform.system()} {platform.machine()}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "✓", "cores to use", str(cores)


def _numpy() -> Iterator[Row]:
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    yield "✓", "NumPy", np.__version__
    yield "✓", "BLAS", f"{blas['name']} {blas['version']}"
    yield "✓", "BLAS threads", _blas_threads()


def _blas_threads() -> str:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
        told = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
        return ", ".join(told) or "one for each core (no *_NUM_THREADS variable is set)"
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return ", ".join(f"{pool['num_threads']} ({pool['internal_api']} {pool['version']})" for pool in pools)


def _kernels() -> Iterator[Row]:
    """Numba: whether it works, on how many threads of which kind, how wide its vectors are, what is compiled."""
    try:
        import numba
        from nlp_kernels.common import compiled
    except ImportError as error:
        yield "–", "Numba", f"{error}; without it the slower references run: pip install numba"
        return
    from tinygrad_nlp.warmup import kernels_and_dtypes

    yield "✓", "Numba", numba.__version__
    yield "✓", "threads", f"{numba.config.NUMBA_NUM_THREADS}, {_threading_layer()}"
    yield "✓", "compiles for", numba.core.registry.cpu_target.target_context.codegen().magic_tuple()[1]
    work = kernels_and_dtypes()
    kept = sum(kernel.is_kept(dtype) for kernel, dtype in work)
    advice = "" if kept == len(work) else "; tinygrad-nlp warmup compiles the rest"
    yield "✓", "compiled", f"{kept} of {len(work)} in {compiled.cache_root()}{advice}"


def _threading_layer() -> str:
    for module, layer in {"tbbpool": "TBB", "omppool": "OpenMP"}.items():
        with contextlib.suppress(ImportError):
            importlib.import_module(f"numba.np.ufunc.{module}")
            return layer
    return "Numba's own, one caller at a time and slow to start; OpenMP is better: install libgomp1"


def _needed(name: str) -> Row:
    try:
        importlib.import_module(name)
    except ImportError as error:
        return "✗", name, f"{error}; pip install {name.replace('_', '-')}"
    return "✓", name, _version(name)


def _optional(name: str, purpose: str, remedy: str) -> Row:
    """Looked up, not imported: some of these take seconds to import."""
    if importlib.util.find_spec(name) is None:
        return "–", name, f"not installed; {purpose}: {remedy}"
    return "✓", name, f"{_version(name)} ({purpose})"


def _version(name: str) -> str:
    distributions = _distributions().get(name, [])
    return ", ".join(importlib.metadata.version(d) for d in distributions) or "version unknown"


_distributions = functools.cache(importlib.metadata.packages_distributions)  # import name: who brings it


def _simulator() -> Iterator[Row]:
    """What the simulator of CUDA kernels needs: a C++ compiler and CUDA's headers."""
    from nlp_kernels.simulator import SimulatorMissingError, build

    for what, find in {"C++ compiler": build.compiler_version, "CUDA headers": build.headers}.items():
        try:
            yield "✓", what, str(find())
        except SimulatorMissingError as error:
            yield "–", what, str(error)


def _gpu() -> Iterator[Row]:
    """The driver, CuPy and what it was built for, each GPU, and a kernel of ours compiled and run there."""
    from tinygrad_nlp.autograd.devices import cupy_and_count, driver_version

    driver = driver_version()
    if driver is not None:
        yield "✓", "NVIDIA driver", f"for CUDA {driver[0]}.{driver[1]}"
    try:
        cupy, count = cupy_and_count()
    except DeviceError as error:
        yield "–", "NVIDIA GPU", f"{error}; until then everything runs on the CPU"
        return
    runtime, nvrtc = cupy.cuda.runtime.runtimeGetVersion(), cupy.cuda.nvrtc.getVersion()
    yield "✓", "CuPy", f"{cupy.__version__}, CUDA {runtime // 1000}.{runtime % 1000 // 10}"
    yield "✓", "NVRTC", ".".join(map(str, nvrtc))
    for i in range(count):
        properties = cupy.cuda.runtime.getDeviceProperties(i)
        with cupy.cuda.Device(i):
            free, total = (n / 2**30 for n in cupy.cuda.runtime.memGetInfo())
        name, capability = properties["name"].decode(), f"{properties['major']}.{properties['minor']}"
        yield "✓", f"cuda:{i}", f"{name}, compute capability {capability}, {free:.1f} of {total:.1f} GiB free"
    yield _kernel()


def _kernel() -> Row:
    """Softmax of a few numbers by the CUDA kernel, against the CPU's."""
    import numpy as np

    from tinygrad_nlp import Tensor, softmax, use_backend

    x, began = np.random.default_rng(0).normal(size=(33, 77)).astype(np.float32), time.perf_counter()
    try:
        with use_backend("cuda", "softmax"):
            y = softmax(Tensor(x).to("cuda")).to("cpu").numpy()
    except Exception as error:  # the compiler's, the driver's, the launch's
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        remedy = "install CuPy with CUDA's headers and compiler, pip install 'cupy-cuda13x[ctk]' (or 12)"
        return "✗", "a kernel of ours", f"does not run: {said}; {remedy}, and see that the driver is of that CUDA"
    wrong = float(np.abs(y - softmax(x).numpy()).max())
    if not wrong < 1e-6:
        remedy = "delete CuPy's cache (~/.cupy/kernel_cache) and try again; if it stays, send us this report"
        return "✗", "a kernel of ours", f"softmax is off by {wrong:.3g}: {remedy}"
    return "✓", "a kernel of ours", f"softmax compiled and run in {time.perf_counter() - began:.1f} s, right"
