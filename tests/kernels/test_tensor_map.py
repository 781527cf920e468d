"""Tensor maps: what NVIDIA's driver is asked for, what the simulator gets, and what the copy engine cannot read."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
from nlp_kernels.common import tensor_map as module
from nlp_kernels.common.tensor_map import tensor_map
from nlp_kernels.errors import DtypeError, ShapeError
from nlp_kernels.simulator.tensor_map import TENSOR_MAP, memory


class OnGPU:
    """As much of CuPy's array as a tensor map looks at."""

    def __init__(self, x, address=0x7F0000000200):
        self.shape, self.strides, self.dtype, self.ndim, self.itemsize = x.shape, x.strides, x.dtype, x.ndim, x.itemsize
        self.data = SimpleNamespace(ptr=address)


@pytest.fixture
def driver(monkeypatch):
    """Stands for libcuda: keeps the arguments of cuTensorMapEncodeTiled, and answers with `status`."""
    fake = SimpleNamespace(calls=[], status=0)

    def encode(*arguments):
        target, dtype, rank, address, sizes, strides, box, steps, interleave, swizzle, promotion, fill = arguments
        assert target.value % 64 == 0
        ctypes.memset(target.value, 7, 128)
        fake.calls.append(
            {"dtype": dtype.value, "rank": rank.value, "address": address.value, "sizes": list(sizes),
             "strides": list(strides), "box": list(box), "steps": list(steps), "interleave": interleave.value,
             "swizzle": swizzle.value, "promotion": promotion.value, "fill": fill.value}
        )  # fmt: skip
        return fake.status

    fake.cuTensorMapEncodeTiled = encode
    monkeypatch.setattr(module, "_driver", lambda: fake)
    module._encoded.cache_clear()
    yield fake
    module._encoded.cache_clear()


def test_the_driver_is_asked_innermost_first(driver):
    described = tensor_map(OnGPU(np.zeros((5, 6, 64), np.float16)[:, ::2]), (1, 3, 32), swizzle=64)
    assert driver.calls == [
        {"dtype": 6, "rank": 3, "address": 0x7F0000000200, "sizes": [64, 3, 5], "strides": [256, 768],
         "box": [32, 3, 1], "steps": [1, 1, 1], "interleave": 0, "swizzle": 2, "promotion": 3, "fill": 0}
    ]  # fmt: skip
    assert described.size == 1
    assert described.tobytes() == bytes([7] * 128)


@pytest.mark.parametrize("x", [np.zeros((9, 39), np.float32)[:1, :36], np.zeros((9, 36), np.float32)[:1][::-1]])
def test_an_axis_of_one_has_any_stride(driver, x):
    tensor_map(OnGPU(x), (8, 32))
    assert driver.calls[0]["strides"] == [144]
    assert memory(tensor_map(x, (8, 32))).nbytes == x.nbytes


def test_the_driver_is_asked_once_for_each_array_and_tile(driver):
    x = OnGPU(np.zeros((8, 64), np.float32))
    for box in ((8, 32), (8, 32), (4, 32)):
        tensor_map(x, box)
    tensor_map(OnGPU(np.zeros((8, 64), np.float32), 0x7F0000000300), (8, 32))
    assert len(driver.calls) == 3


def test_what_the_driver_refuses_is_said(driver):
    driver.status = 1
    with pytest.raises(ShapeError, match=r"driver refuses a tensor map \(error 1\): float32, innermost first sizes"):
        tensor_map(OnGPU(np.zeros((8, 64), np.float32)), (8, 32))


def test_simulated_maps_speak_of_the_array_s_memory():
    x = np.zeros((5, 6, 64), np.float32)
    described = tensor_map(x[1:, ::2], (1, 3, 32))
    assert described.dtype == TENSOR_MAP
    assert described.nbytes == 128
    found = memory(described)
    assert (found.ctypes.data, found.nbytes, found.itemsize) == (x[1:].ctypes.data, 3 * 1536 + 2 * 512 + 256, 4)


@pytest.mark.parametrize(
    ("x", "box", "swizzle", "error", "message"),
    [
        (np.zeros((8, 64), np.int8), (8, 64), 0, DtypeError, "the copy engine has the types uint8, "),
        (np.zeros((8, 64), np.float32), (32,), 0, ShapeError, "expected 1 to 5 axes, and a box of as many"),
        (np.zeros((1,) * 5 + (64,), np.float32), (1,) * 6, 0, ShapeError, "expected 1 to 5 axes"),
        (np.zeros((8, 64), np.float32), (8, 32), 16, ShapeError, "a swizzle of 16 bytes, expected 0, 32, 64 or 128"),
        (np.zeros((8, 64), np.float32), (257, 32), 0, ShapeError, "an axis of a box has 1 to 256 numbers"),
        (np.zeros((0, 64), np.float32), (8, 32), 0, ShapeError, ".* one of the array at least 1"),
        (np.zeros((8, 66), np.float32), (8, 32), 0, ShapeError, r"strides of \(264, 4\) bytes from address 0x.*copy x"),
        (np.zeros((8, 64), np.float32)[:, ::2], (8, 32), 0, ShapeError, r"strides of \(256, 8\) bytes .* must be"),
        (np.zeros((8, 64), np.float32)[:, 1:61], (8, 32), 0, ShapeError, ".* and the address multiples of 16"),
        (np.zeros((8, 64), np.float32)[::-1], (8, 32), 0, ShapeError, r"strides of \(-256, 4\)"),
        (np.zeros((8, 64), np.float32), (8, 6), 0, ShapeError, "a row of 24 bytes, expected a multiple of 16"),
        (np.zeros((8, 64), np.float32), (8, 64), 128, ShapeError, "a row of 256 bytes, .* at most the swizzle's 128"),
    ],
)
def test_what_the_copy_engine_cannot_read(x, box, swizzle, error, message):
    with pytest.raises(error, match=rf"tensor_map of {x.dtype} .*: {message}"):
        tensor_map(x, box, swizzle=swizzle)
