"""A GPU that is asked for and not there: one sentence for each thing that can be missing, and how to get it."""

import importlib.util
import sys

import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import DeviceError, DtypeError, Tensor, nn
from tinygrad_nlp.autograd import devices

NO_DRIVER, NO_DEVICE = 35, 100


@pytest.fixture
def machine(standin_cupy):
    return sys.modules["cupy._machine"].machine


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_cupy():
    with pytest.raises(DeviceError) as told:
        tn.zeros(2, device="cuda")
    assert str(told.value) == (
        "zeros: device 'cuda' cannot be had: CuPy is not installed: install the extra cuda13, as by pip install "
        "\"cupy-cuda13x[ctk]\", or cuda12 for a driver older than 580; or use device 'cpu'"
    )


def told(f, *args, **params):
    with pytest.raises(DeviceError) as error:
        f(*args, **params)
    return str(error.value)


def test_a_driver_without_a_gpu(machine):
    machine.fails = NO_DEVICE
    said = told(tn.zeros, 2, device="cuda")
    assert "there is an NVIDIA driver but no GPU that may be used (cudaErrorNoDevice)" in said
    assert "CUDA_VISIBLE_DEVICES" in said
    assert tn.__array_namespace_info__().devices() == ["cpu"]


def test_no_driver(machine, monkeypatch):
    machine.fails = NO_DRIVER
    monkeypatch.setattr(devices, "driver_version", lambda: None)
    assert "this machine has no NVIDIA driver (libcuda.so.1 is not there)" in told(Tensor([1.0]).to, "cuda")


@pytest.mark.parametrize(("driver", "remedy"), [((12, 4), "the extra cuda12 in place of cuda13"), ((13, 0), "update")])
def test_a_driver_that_is_too_old(machine, monkeypatch, driver, remedy):
    machine.fails = NO_DRIVER
    monkeypatch.setattr(devices, "driver_version", lambda: driver)
    said = told(nn.Linear(1, 1).to, "cuda")
    assert f"too old for this CuPy (cudaErrorInsufficientDriver): it is for CUDA {driver[0]}.{driver[1]}" in said
    assert remedy in said


def test_a_gpu_that_is_not_there(machine):
    assert told(tn.zeros, 2, device="cuda:3").endswith("'cuda:3': this machine has 2 GPUs, cuda:0 to cuda:1")
    machine.devices = 1
    assert told(Tensor([1.0]).to, "cuda:3") == "to_device: device 'cuda:3': this machine has one GPU, cuda:0"


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "CUDA", "cuda:-1", "cuda:"])
def test_names_of_no_device(name):
    assert told(tn.zeros, 2, device=name) == f'zeros: unknown device {name!r}: "cpu", "cuda" or "cuda:1"'
    with pytest.raises((DeviceError, DtypeError, TypeError)):
        nn.Linear(1, 1).to(name)
