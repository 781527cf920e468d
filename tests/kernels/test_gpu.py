"""Every hot path on CuPy arrays: on an NVIDIA GPU with `pytest -m gpu`, and on CuPy's stand-in wherever tests run.

The contract of all backends, the references, gradients to second order through the tape, arrays of more than 2³¹
numbers. On the stand-in the kernels run in the simulator, so few examples are drawn there; test_cuda.py draws more.
"""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import ALL, Case, generators
from contract import assert_no_worse_than_the_problem, draw_cotangents, evaluate
from hypothesis import HealthCheck, given, settings
from nlp_kernels import dispatch, softmax
from standin import needs_simulator
from test_second_order import FUNCTIONS

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor
from tinygrad_nlp.autograd.check import check_grads

SERVED = [path for path in ALL if "cuda" in dispatch.backends(path.name)]
ON_GPU, FEW = 50, 3
drawn = {"suppress_health_check": [HealthCheck.function_scoped_fixture]}


def placed(cupy, x):
    """A host array on the device, contiguous or with gaps as it is."""
    if not isinstance(x, np.ndarray):
        return x
    if x.flags.c_contiguous or not x.ndim:
        return cupy.asarray(x)
    return cupy.asarray(np.repeat(x, 2, axis=-1))[..., ::2]


def on_device(cupy, kernel, path, case, cotangents):
    """What a kernel makes of a case there, as arrays of the host; the inputs are as they were."""
    inputs, cs = (tuple(placed(cupy, x) for x in xs) for xs in (case.inputs, cotangents))
    results = evaluate(kernel, path, Case(inputs, case.hyper), cs)
    for x, host in zip((*inputs, *cs), (*case.inputs, *cotangents), strict=True):
        if isinstance(host, np.ndarray):
            np.testing.assert_array_equal(x.get(), host, "an input was changed")
    return {name: y.get() for name, y in results.items()}


def is_standin(cupy):
    return cupy.__file__.endswith("standin/cupy/__init__.py")


def examples(cupy):
    return settings(max_examples=FEW if is_standin(cupy) else ON_GPU, **drawn)


@needs_simulator()
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("path", SERVED, ids=lambda path: path.name)
def test_no_worse_than_the_problem_itself(path, dtype, any_cupy):
    @examples(any_cupy)
    @given(data=st.data(), rng=generators())
    def check(data, rng):
        case = data.draw(path.cases(dtype))
        cotangents = draw_cotangents(path, case, rng)
        with dispatch.use_backend("cuda", path.name):
            ours = on_device(any_cupy, path.package, path, case, cotangents)
        assert all(a.dtype == dtype for a in ours.values() if a.dtype.kind == "f"), "a dtype was not kept"
        assert_no_worse_than_the_problem(ours, path, case, cotangents)

    check()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_the_reference_runs_on_cupy(path, any_cupy):
    @examples(any_cupy)
    @given(data=st.data(), rng=generators())
    def check(data, rng):
        case = data.draw(path.cases(np.float64))
        cotangents = draw_cotangents(path, case, rng)
        results = on_device(any_cupy, path.reference, path, case, cotangents)
        assert_no_worse_than_the_problem(results, path, case, cotangents)

    check()


@needs_simulator()
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_to_second_order(name, any_cupy):
    """By whichever backend serves the arrays: a kernel for the first order where there is one."""
    if is_standin(any_cupy) and "cuda" not in dispatch.backends(name):
        pytest.skip("the references have tests/ops/test_functions_on_device.py")
    f, inputs = FUNCTIONS[name]

    def through(*xs):
        ys = f(*(x.to("cuda") for x in xs))
        return tuple(y.to("cpu") for y in ys) if isinstance(ys, tuple) else ys.to("cpu")

    check_grads(through, inputs, order=2)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_arrays_of_a_gpu_find_the_cuda_kernel_unasked(path, any_cupy):
    """And where there is none yet, the reference: never a kernel of the CPU."""
    right = "cuda" if path in SERVED else "reference"

    @settings(max_examples=5, **drawn)
    @given(data=st.data())
    def check(data):
        case = data.draw(path.cases(np.float32))
        inputs = tuple(placed(any_cupy, x) for x in case.inputs)
        assert dispatch.select(path.name, *inputs, **case.hyper).__name__ == f"nlp_kernels.{path.name}.{right}"

    check()


@pytest.mark.gpu
@pytest.mark.slow
def test_softmax_of_more_than_two_to_the_31_numbers(real_cupy):
    """Offsets of 64 bits: the rows around 2³¹ and the last one are those of a small array."""
    N, C = 2**16 + 3, 2**15
    if real_cupy.cuda.Device().mem_info[0] < 5 * 4 * N * C:
        pytest.skip("needs 43 GB of free memory")
    rows = [0, 2**16 - 1, 2**16, N - 1]
    some = np.random.default_rng(0).normal(size=(2, len(rows), C)).astype(np.float32)
    x, dy = (real_cupy.zeros((N, C), real_cupy.float32) for _ in range(2))
    for array, values in zip((x, dy), some, strict=True):
        array[real_cupy.asarray(rows)] = real_cupy.asarray(values)
    with dispatch.use_backend("cuda", "softmax"):
        y, saved = softmax.forward(x)
        (dx,) = softmax.backward(dy, x, None, saved)
    wide = some.astype(np.longdouble)
    expected, _ = softmax.reference.forward(wide[0])
    (gradient,) = softmax.reference.backward(wide[1], wide[0], None, expected)
    np.testing.assert_allclose(y[real_cupy.asarray(rows)].get(), expected, rtol=2e-5)
    np.testing.assert_allclose(dx[real_cupy.asarray(rows)].get(), gradient, rtol=1e-3, atol=1e-9)
    others = y[1 : 2**16 - 1 : 4096]
    assert float(abs(others - 1 / C).max()) < 1e-9


@pytest.mark.gpu
def test_dlpack_with_pytorch_without_a_copy(real_cupy):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch has no CUDA")
    x = Tensor(np.arange(6, dtype=np.float32).reshape(2, 3)).to("cuda")
    theirs = torch.from_dlpack(x)
    theirs[0, 0] = 7
    assert x[0, 0].item() == 7
    ours = tn.from_dlpack(theirs)
    assert ours.data.data.ptr == theirs.data_ptr() == x.data.data.ptr
