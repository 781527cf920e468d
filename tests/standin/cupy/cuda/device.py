"""`cupy.cuda.Device`."""

from cupy._machine import CUDARuntimeError, machine

ATTRIBUTES = {
    "ClockRate": 1_980_000, "ComputeCapabilityMajor": 9, "ComputeCapabilityMinor": 0, "CooperativeLaunch": 1,
    "MaxSharedMemoryPerBlockOptin": 227 << 10, "MaxSharedMemoryPerMultiprocessor": 228 << 10,
    "MaxThreadsPerBlock": 1024, "MaxThreadsPerMultiProcessor": 2048, "MultiProcessorCount": 1, "WarpSize": 32,
}  # fmt: skip


class Device:
    """A device of the machine; `with` and `use` make it the current one."""

    def __init__(self, device=None):
        machine.check()
        self.id = machine.current if device is None else int(device)
        if not 0 <= self.id < machine.devices:
            raise CUDARuntimeError(101)
        self._before = []

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self):
        return hash(self.id)

    def __repr__(self):
        return f"<CUDA Device {self.id}>"

    def __enter__(self):
        self._before.append(machine.current)
        machine.current = self.id
        return self

    def __exit__(self, *error):
        machine.current = self._before.pop()

    def use(self):
        machine.current = self.id
        return self

    def synchronize(self):
        machine.synchronises()

    @property
    def attributes(self):
        return dict(ATTRIBUTES)

    @property
    def compute_capability(self):
        return "90"

    @property
    def mem_info(self):
        return 70 << 30, 80 << 30
