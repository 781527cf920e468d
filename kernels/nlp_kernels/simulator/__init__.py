"""Runs CUDA kernels on the CPU, one thread at a time, and finds their bugs. How: README.md."""

from nlp_kernels.simulator.errors import SimulatorError, SimulatorMissingError
from nlp_kernels.simulator.module import Pointers, RawKernel, RawModule
from nlp_kernels.simulator.order import ORDERS, every_order, simulate, simulating

__all__ = [
    "ORDERS",
    "Pointers",
    "RawKernel",
    "RawModule",
    "SimulatorError",
    "SimulatorMissingError",
    "every_order",
    "simulate",
    "simulating",
]
