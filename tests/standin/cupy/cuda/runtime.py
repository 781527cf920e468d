"""`cupy.cuda.runtime`: the few calls that are made."""

from cupy._machine import CUDARuntimeError, machine

__all__ = ["CUDARuntimeError"]

memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice = 1, 2, 3
is_hip = False


def getDeviceCount():
    machine.check()
    return machine.devices


def driverGetVersion():
    return 13000


def runtimeGetVersion():
    return 13000


def getDeviceProperties(device):
    machine.check()
    if not 0 <= device < machine.devices:
        raise CUDARuntimeError(101)
    return {
        "name": b"stand-in for a GPU", "totalGlobalMem": 80 << 30, "multiProcessorCount": 1, "major": 9, "minor": 0,
        "sharedMemPerBlockOptin": 227 << 10, "l2CacheSize": 50 << 20,
    }  # fmt: skip


def memGetInfo():
    machine.check()
    return 70 << 30, 80 << 30
