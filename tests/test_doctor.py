"""`doctor` on a machine with a GPU, which CuPy's stand-in plays, and with each thing that can be missing."""

import sys

import pytest
from standin import needs_simulator

from tinygrad_nlp import doctor
from tinygrad_nlp.autograd import devices

NO_DRIVER, NO_DEVICE = 35, 100


@pytest.fixture
def machine(standin_cupy):
    return sys.modules["cupy._machine"].machine


def gpu():
    """The rows on the GPU: what -> (mark, found)."""
    return {what: (mark, found) for mark, what, found in doctor._gpu()}


@needs_simulator()
def test_a_gpu_is_described_and_a_kernel_runs_on_it(machine, monkeypatch, capsys):
    monkeypatch.setattr(devices, "driver_version", lambda: (13, 0))
    rows = gpu()
    assert rows["NVIDIA driver"] == ("✓", "for CUDA 13.0")
    assert rows["CuPy"] == ("✓", "14.2.0, CUDA 13.0")
    assert rows["NVRTC"] == ("✓", "13.0")
    assert rows["cuda:1"] == ("✓", "stand-in for a GPU, compute capability 9.0, 70.0 of 80.0 GiB free")
    mark, found = rows["a kernel of ours"]
    assert mark == "✓"
    assert found.startswith("softmax compiled and run in ")
    assert [name.split("<")[0] for name in machine.launches] == ["softmax_forward"]
    assert doctor.report() == 0
    assert "  ✓ a kernel of ours   softmax compiled and run in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "driver", "words"),
    [
        (NO_DEVICE, (13, 0), "no GPU that may be used"),
        (NO_DRIVER, (12, 2), "too old for this CuPy"),
        (NO_DRIVER, None, "libcuda.so.1 is not there"),
    ],
)
def test_what_is_missing_has_a_remedy_and_is_no_failure(machine, monkeypatch, status, driver, words):
    machine.fails = status
    monkeypatch.setattr(devices, "driver_version", lambda: driver)
    rows = gpu()
    mark, found = rows["NVIDIA GPU"]
    assert mark == "–"
    assert words in found
    assert found.endswith("; until then everything runs on the CPU")
    assert ("NVIDIA driver" in rows) == (driver is not None)


def test_a_compiler_that_fails_is_a_failure(machine, monkeypatch, capsys):
    def fails(*args, **params):
        raise RuntimeError("\n  Failed to find CUDA headers.\n  Please install them\n")

    monkeypatch.setattr(sys.modules["cupy"], "RawModule", fails)
    mark, found = gpu()["a kernel of ours"]
    assert mark == "✗"
    assert found.startswith("does not run: Failed to find CUDA headers.; install CuPy with CUDA's headers")
    assert doctor.report() == 1
    assert "Missing: a kernel of ours" in capsys.readouterr().out


def test_a_kernel_that_is_wrong_is_a_failure(machine, monkeypatch):
    kernel = type("Kernel", (), {"__call__": lambda self, grid, block, args, **more: args[0].fill(0)})()
    module = type("Module", (), {"get_function": lambda self, name: kernel})()
    monkeypatch.setattr(sys.modules["cupy"], "RawModule", lambda **params: module)
    mark, found = gpu()["a kernel of ours"]
    assert mark == "✗"
    assert found.startswith("softmax is off by 0.")
    assert "kernel_cache" in found
