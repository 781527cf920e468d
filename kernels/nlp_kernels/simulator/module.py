"""CuPy's `RawModule` and `RawKernel` for NumPy arrays: the small part of them that launchers use."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlp_kernels.simulator import build, tensor_map, translate
from nlp_kernels.simulator.errors import SimulatorError
from nlp_kernels.simulator.order import current_order

_one_at_a_time = threading.Lock()  # the runtime has one launch
_ORDERS = {"forward": 0, "reverse": 1, "random": 2}
_PATH = re.compile(r"(/[^\s:]+)(?=:\d+)")


class _Entry(ctypes.Structure):  # interface.h
    _fields_ = [
        ("call", ctypes.c_void_p),
        ("count", ctypes.c_uint),
        ("bytes", ctypes.POINTER(ctypes.c_uint)),
        ("items", ctypes.POINTER(ctypes.c_uint)),
        ("kinds", ctypes.c_char_p),
        ("cluster", ctypes.c_uint),
    ]


class _Array(ctypes.Structure):  # runtime/state.h
    _fields_ = [
        ("host", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("item", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        *((name, ctypes.c_size_t) for name in ("placed", "slot", "slot_bytes", "cells", "cell_bytes")),
    ]


class _Request(ctypes.Structure):  # runtime/state.h
    _fields_ = [
        ("entry", ctypes.c_uint),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("cluster", ctypes.c_uint),
        ("cooperative", ctypes.c_uint),
        ("shared", ctypes.c_size_t),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint64),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("array_of_argument", ctypes.POINTER(ctypes.c_int)),
        ("arrays", ctypes.POINTER(_Array)),
        ("array_count", ctypes.c_uint),
        ("message", ctypes.c_char_p),
        ("message_bytes", ctypes.c_size_t),
    ]


class RawModule:
    """A CUDA source compiled for the CPU; compiled when the first kernel is asked for.

    name_expressions: the template instances that it shall have, as `softmax<float, 256>`; plain kernels need none.
    """

    def __init__(
        self,
        *,
        code: str,
        options: Sequence[str] = (),
        name_expressions: Sequence[str] = (),
        enable_cooperative_groups: bool = False,
    ):
        folders = [Path(option[2:]) for option in options if option.startswith("-I")]
        defines = "".join(f"#define {o[2:].replace('=', ' ', 1)}\n" for o in options if o.startswith("-D"))
        self._code = defines + translate.flatten(code, folders)
        self.signatures = translate.signatures(self._code)
        self.names = list(name_expressions) or list(self.signatures)
        self.cooperative = enable_cooperative_groups
        self._library: Any = None

    def get_function(self, name: str) -> RawKernel:
        """The kernel of a name expression; raises SimulatorError where the module has none of that name."""
        if name not in self.names:
            raise SimulatorError(f"the module has no kernel {name!r}; it has {', '.join(self.names)}")
        if self._library is None:
            entries = ", ".join(translate.instance(name, self._signature(name)) for name in self.names)
            code = translate.shared_memory(self._code)
            code += (
                f'\n#line 1 "name_expressions"\nextern const simulator::Entry simulator_entries[] = {{{entries}}};\n'
            )
            self.path = build.library(code)
            self._library = ctypes.CDLL(str(self.path))
            self._library.simulator_entry.restype = ctypes.POINTER(_Entry)
        return RawKernel(self, name, self.names.index(name), self._signature(name))

    def _signature(self, name: str) -> translate.Signature:
        return self.signatures[re.sub(r"<.*", "", name).split("::")[-1].strip()]


class RawKernel:
    """kernel(grid, block, arguments, shared_mem=bytes): NumPy arrays, None for a null pointer, NumPy scalars."""

    def __init__(self, module: RawModule, name: str, index: int, signature: translate.Signature):
        self.module, self.name, self.index, self.signature = module, name, index, signature
        self.max_dynamic_shared_size_bytes = 48 << 10  # as on a GPU: more must be asked for
        self._entry = module._library.simulator_entry(index).contents
        self.cluster = self._entry.cluster

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        """Run it to the end; raises SimulatorError for a wrong launch and for every bug that is found."""
        self._check_launch(grid, block, args, shared_mem)
        arguments = [self._argument(i, a) for i, a in enumerate(args)]
        arrays, array_of = self._arrays(args)
        message = ctypes.create_string_buffer(8192)
        order, seed = current_order()
        pointers = [ctypes.cast(ctypes.pointer(a), ctypes.c_void_p) for a in arguments]
        request = _Request(
            self.index, _three(grid), _three(block), self.cluster, self.module.cooperative, shared_mem,
            _ORDERS[order], seed, (ctypes.c_void_p * len(args))(*pointers), (ctypes.c_int * len(args))(*array_of),
            (_Array * len(arrays))(*arrays), len(arrays), ctypes.cast(message, ctypes.c_char_p), len(message),
        )  # fmt: skip
        with _one_at_a_time:
            failed = self.module._library.simulator_launch(ctypes.byref(request))
        if failed:
            raise SimulatorError(f"{self.name}: {self._readable(message.value.decode())} ({_said(order, seed)})")

    def _check_launch(self, grid, block, args, shared_mem):
        threads, blocks = int(np.prod(block)), int(np.prod(grid))
        if not 0 < threads <= 1024:
            raise SimulatorError(f"{self.name}: a block of {tuple(block)} threads, expected 1 to 1024")
        if blocks < 1:
            raise SimulatorError(f"{self.name}: a grid of {tuple(grid)} blocks, expected at least 1")
        if blocks % self.cluster:
            raise SimulatorError(
                f"{self.name}: a grid of {blocks} blocks is no multiple of the cluster's {self.cluster}"
            )
        if len(args) != self._entry.count:
            names = ", ".join(self.signature.parameters)
            raise SimulatorError(f"{self.name}: {len(args)} arguments for {self._entry.count} parameters ({names})")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise SimulatorError(
                f"{self.name}: {shared_mem} bytes of dynamic shared memory, but max_dynamic_shared_size_bytes is "
                f"{self.max_dynamic_shared_size_bytes}; set it first"
            )

    def _argument(self, i, a):
        """What the kernel is given: an address, or the bytes of a value."""
        name, kind = self.signature.parameters[i], self._entry.kinds[i : i + 1]
        if kind in (b"v", b"m"):
            value = np.asarray(a)
            if kind == b"m" and value.dtype != tensor_map.TENSOR_MAP:
                raise SimulatorError(f"{self.name}: {name} is {value.dtype}, expected what tensor_map() returns")
            if value.size != 1 or value.nbytes != self._entry.bytes[i]:
                raise SimulatorError(
                    f"{self.name}: {name} is {value.dtype} of {value.nbytes} bytes, the kernel takes "
                    f"{self._entry.bytes[i]}; pass a NumPy scalar of its type"
                )
            return ctypes.create_string_buffer(value.tobytes(), value.nbytes)
        if a is None:
            return ctypes.c_void_p(0)
        if not isinstance(a, np.ndarray):
            raise SimulatorError(f"{self.name}: {name} is a pointer, expected a NumPy array or None, not {a!r}")
        item = self._entry.items[i]
        if not (item in (1, a.itemsize) or (item > 8 and item % a.itemsize == 0)):
            raise SimulatorError(
                f"{self.name}: {name} has {a.dtype} elements of {a.itemsize} bytes, the kernel's have {item}"
            )
        if not (a.flags.c_contiguous or a.flags.f_contiguous):
            raise SimulatorError(f"{self.name}: {name} is not contiguous")
        if kind == b"p" and not a.flags.writeable:
            raise SimulatorError(f"{self.name}: {name} is written, and the array is read-only")
        return ctypes.c_void_p(a.ctypes.data)

    def _arrays(self, args):
        """The memory of the arguments, what overlaps as one; and which of them each argument is in."""
        memory = ((self._memory(i, a), i) for i, a in enumerate(args) if self._points(i, a))
        given = sorted((a.ctypes.data, i, a) for a, i in memory)
        found: list[_Array] = []
        ends: list[int] = []
        array_of = [-1] * len(args)
        for start, i, a in given:
            name = self.signature.parameters[i]
            if found and start < ends[-1] and a.nbytes:
                ends[-1] = max(ends[-1], start + a.nbytes)
                found[-1].bytes = ends[-1] - found[-1].host
                found[-1].name += b"=" + name.encode()
            else:
                found.append(_Array(start, a.nbytes, a.itemsize, name.encode()))
                ends.append(start + a.nbytes)
            array_of[i] = len(found) - 1
        return found, array_of

    def _points(self, i, a):
        return isinstance(a, np.ndarray) and self._entry.kinds[i : i + 1] != b"v"

    def _memory(self, i, a):
        """The array, or that of a tensor map."""
        return tensor_map.memory(a) if self._entry.kinds[i : i + 1] == b"m" else a

    def _readable(self, message):
        offsets = [int(x, 16) for x in re.findall(r"<pc ([0-9a-f]+)>", message)]
        lines = build.source_lines(self.module.path, offsets)
        message = re.sub(r"<pc ([0-9a-f]+)>", lambda m: lines[int(m[1], 16)], message)
        return _PATH.sub(lambda m: "/".join(Path(m[1]).parts[1:][-2:]), message)  # folder and file say enough


def _three(n):
    return (ctypes.c_uint * 3)(*(*(int(i) for i in n), 1, 1)[:3])


def _said(order, seed):
    return f"thread order {order}:{seed}" if order == "random" else f"thread order {order}"
