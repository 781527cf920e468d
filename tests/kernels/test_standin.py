"""The stand-in for CuPy: it has no name that CuPy lacks, and it is strict where code for NumPy goes wrong."""

import importlib
import importlib.util
import operator
import sys

import numpy as np
import pytest
from simulated import needs_simulator
from standin import installed

from tinygrad_nlp import Tensor, softmax

MODULES = ("cupy", "cupy.linalg", "cupy.fft", "cupy.cuda", "cupy.cuda.runtime", "cupyx.scipy.special")
CLASSES = {
    "cupy": ("ndarray", "ufunc", "RawModule", "RawKernel"),
    "cupy.cuda": ("Device", "Stream", "Event", "Graph", "MemoryPool", "MemoryPointer", "Memory", "UnownedMemory"),
}


def _public(x):
    return {name for name in vars(x) if not name.startswith("_")}


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
def test_every_name_is_one_of_cupys():
    with installed():
        offered = {name: _public(sys.modules[name]) - {"NAMES", "machine"} for name in MODULES}
        members = {(m, c): _public(getattr(sys.modules[m], c)) for m, classes in CLASSES.items() for c in classes}
    for name, names in offered.items():
        real = importlib.import_module(name)
        unknown = sorted(n for n in names if not hasattr(real, n))
        assert not unknown, f"{name} has no {', '.join(unknown)}"
    for (module, name), names in members.items():
        real = getattr(importlib.import_module(module), name)
        unknown = sorted(n for n in names - {"take_back"} if not hasattr(real, n))
        assert not unknown, f"{module}.{name} has no {', '.join(unknown)}"


def test_arrays_of_the_host_are_refused(standin_cupy):
    x, host = standin_cupy.ones(3), np.ones(3)
    refused = "Unsupported type|Only cupy arrays"
    for mixed in (
        lambda: x + host,
        lambda: host + x,
        lambda: x @ host,
        lambda: standin_cupy.where(x > 0, x, host),
        lambda: standin_cupy.concatenate([x, host]),
        lambda: operator.iadd(x, host),
        lambda: np.dot(host, x),
    ):
        with pytest.raises(TypeError, match=refused):
            mixed()
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)
    with pytest.raises(ValueError, match=r"non-scalar numpy\.ndarray"):
        x[:] = host
    assert (np.float32(2) * x + 1).get().tolist() == [3, 3, 3]
    assert type(np.exp(x)) is type(x)


def test_reductions_stay_on_the_device(standin_cupy):
    x = standin_cupy.arange(6.0).reshape(2, 3)
    for y in (x.sum(), x.max(), x[0, 1], x.mean(axis=None), standin_cupy.sqrt(x[1, 1])):
        assert type(y) is standin_cupy.ndarray
        assert y.shape == ()
    assert float(x.sum()) == 15
    assert not hasattr(x, "ctypes")
    with pytest.raises(TypeError, match="interpreted as an integer"):
        range(x.argmax())


def test_no_index_is_out_of_range(standin_cupy):
    x = standin_cupy.arange(4.0)
    places = standin_cupy.asarray([5, -1])
    assert x[places].get().tolist() == standin_cupy.take(x, places).get().tolist() == [1, 3]
    standin_cupy.add.at(x, places, 10)
    assert x.get().tolist() == [0, 11, 2, 13]


def test_views_share_memory_and_the_rest_is_new(standin_cupy):
    x = standin_cupy.zeros((2, 3))
    for view in (x[0], x.T, x.reshape(3, 2), x.ravel(), standin_cupy.broadcast_to(x, (4, 2, 3)), x[:, ::2]):
        assert view.base is x
        assert view.data.mem is x.data.mem
    x[1:].fill(7)
    assert x.T[0].get().tolist() == [0, 7]
    assert x.T.reshape(6).base is None
    assert (x + 0).base is None
    assert standin_cupy.ascontiguousarray(x) is x


def test_memory_is_garbage_until_written_and_handed_out_again(standin_cupy):
    pool = standin_cupy.cuda.MemoryPool()
    with standin_cupy.cuda.using_allocator(pool.malloc):
        x = standin_cupy.empty(5)
        assert np.isnan(x.get()).all()
        address = x.data.ptr
        x[:] = 1
        del x
        assert standin_cupy.empty(5).data.ptr == address
        assert pool.used_bytes() == 0 < pool.total_bytes() == pool.free_bytes()
    y = standin_cupy.empty(5)
    assert y.data.ptr != address


def test_a_captured_stream_does_nothing_until_launched(standin_cupy):
    x = standin_cupy.ones(4)
    with standin_cupy.cuda.Stream(non_blocking=True) as stream:
        y = x * 1
        stream.begin_capture()
        z = x * 2
        z += 1
        y[:2] = z[:2]
        total = z.sum()
        graph = stream.end_capture()
    assert y.get().tolist() == [1, 1, 1, 1]
    for value in (1, 5):
        x[:] = value
        graph.launch()
        assert total.item() == 4 * (2 * value + 1)
        assert y.get().tolist() == [2 * value + 1] * 2 + [1, 1]


def test_a_captured_stream_cannot_wait(standin_cupy):
    x = standin_cupy.ones(4)
    with standin_cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        for wait in (x.get, x.sum().item, lambda: bool(x[0] > 0), lambda: x[x > 0], stream.synchronize,
                     lambda: standin_cupy.asarray(np.ones(2)), lambda: x.nonzero()):  # fmt: skip
            with pytest.raises(standin_cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
                wait()
        stream.end_capture()


def test_memory_that_a_graph_freed_and_somebody_else_took_is_wrong_when_launched(standin_cupy):
    """What a pool of its own is for: nobody else gets the memory of the graph."""

    def launched(pool):
        x = standin_cupy.ones(4)
        with standin_cupy.cuda.Stream(non_blocking=True) as stream:
            stream.begin_capture()
            with standin_cupy.cuda.using_allocator(pool and pool.malloc):
                y = x + 1
                z = y * 2
                address = z.data.ptr
                del z
                graph = stream.end_capture()
            other = standin_cupy.zeros(4)
        graph.launch()
        return other.data.ptr == address, other.get().tolist()

    assert launched(None) == (True, [4, 4, 4, 4])
    assert launched(standin_cupy.cuda.MemoryPool()) == (False, [0, 0, 0, 0])


def test_devices_do_not_mix(standin_cupy):
    x = standin_cupy.ones(2)
    with standin_cupy.cuda.Device(1):
        y = standin_cupy.ones(2)
        with pytest.raises(ValueError, match="device where the array resides"):
            x + y
        assert standin_cupy.asarray(x).device.id == 1
    assert (x.device.id, y.device.id) == (0, 1)


@needs_simulator()
def test_kernels_run_in_the_simulator(standin_cupy):
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    y = softmax(Tensor(standin_cupy.asarray(x)))
    assert [name.split("<")[0] for name in sys.modules["cupy._machine"].machine.launches] == ["softmax_forward"]
    np.testing.assert_allclose(y.data.get(), softmax(x).numpy(), rtol=1e-6)


def test_what_the_array_api_adds_works_on_it(standin_cupy):
    import array_api_compat

    x = standin_cupy.arange(6.0).reshape(2, 3)
    xp = array_api_compat.array_namespace(x)
    assert xp.__name__ == "array_api_compat.cupy"
    assert xp.permute_dims(x, (1, 0)).shape == (3, 2)
    assert xp.argsort(x, descending=True).get().tolist() == [[2, 1, 0], [2, 1, 0]]
    assert [y.get().tolist() for y in xp.unstack(x)] == [[0, 1, 2], [3, 4, 5]]
    assert xp.clip(x, 1, 2).get().tolist() == [[1, 1, 2], [2, 2, 2]]
    assert xp.isdtype(x.dtype, "real floating")


def test_it_is_gone_afterwards():
    before = sys.modules.get("cupy")
    with installed() as cupy:
        assert sys.modules["cupy"] is cupy
    assert sys.modules.get("cupy") is before
    with installed() as again:
        assert again is cupy
