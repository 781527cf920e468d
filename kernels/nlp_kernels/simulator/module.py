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
        ("entries", ctypes.POINTER(ctypes.c_int)),
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


class Pointers:
    """Arrays that a kernel finds by a table of their addresses, a parameter such as `float* const* theta`.

    None is a null pointer. A message names the arrays theta[0], theta[1], … and their elements theta[1][7].
    """

    def __init__(self, arrays: Sequence[Any]):
        self.arrays = tuple(arrays)


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
    """kernel(grid, block, arguments, shared_mem=bytes): NumPy arrays, None for null, NumPy scalars, `Pointers`."""

    def __init__(self, module: RawModule, name: str, index: int, signature: translate.Signature):
        self.module, self.name, self.index, self.signature = module, name, index, signature
        self.max_dynamic_shared_size_bytes = 48 << 10  # as on a GPU: more must be asked for
        self._entry = module._library.simulator_entry(index).contents
        self.cluster = self._entry.cluster

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        """Run it to the end; raises SimulatorError for a wrong launch and for every bug that is found."""
        self._check_launch(grid, block, args, shared_mem)
        given, tables = self._given(args)
        arguments = [self._argument(i, a, tables) for i, a in enumerate(args)]
        arrays, array_of = self._arrays(args, given, tables)
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

    def _given(self, args):
        """Every array of the launch with its name and parameter, and the table of each `Pointers`, by parameter."""
        given, tables = [], {}
        for i, a in enumerate(args):
            name, kind = self.signature.parameters[i], self._entry.kinds[i : i + 1]
            if isinstance(a, Pointers):
                if kind not in b"tu":
                    raise SimulatorError(f"{self.name}: {name} is no table of pointers, such as T* const*")
                for k, x in enumerate(a.arrays):
                    self._check_array(x, f"{name}[{k}]", i)
                tables[i] = np.array([0 if x is None else x.ctypes.data for x in a.arrays], np.uint64)
                given += [(x, f"{name}[{k}]") for k, x in enumerate(a.arrays) if x is not None]
            elif self._points(i) and a is not None:
                if kind in b"tu":
                    raise SimulatorError(f"{self.name}: {name} is a table, expected Pointers or None, not {a!r}")
                self._check_array(a, name, i)
                given.append((a, name))
            elif kind == b"m":
                if getattr(a, "dtype", None) != tensor_map.TENSOR_MAP:
                    raise SimulatorError(f"{self.name}: {name} is {a!r}, expected what tensor_map() returns")
                given.append((tensor_map.memory(a), name))
        return given, tables

    def _argument(self, i, a, tables):
        """What the kernel is given: an address, or the bytes of a value."""
        if self._points(i):
            a = tables.get(i, a)
            return ctypes.c_void_p(0 if a is None else a.ctypes.data)
        value = np.asarray(a)
        if value.size != 1 or value.nbytes != self._entry.bytes[i]:
            raise SimulatorError(
                f"{self.name}: {self.signature.parameters[i]} is {value.dtype} of {value.nbytes} bytes, the kernel "
                f"takes {self._entry.bytes[i]}; pass a NumPy scalar of its type"
            )
        return ctypes.create_string_buffer(value.tobytes(), value.nbytes)

    def _check_array(self, x, name, i):
        if x is None:
            return
        if not isinstance(x, np.ndarray):
            raise SimulatorError(f"{self.name}: {name} is a pointer, expected a NumPy array or None, not {x!r}")
        item = self._entry.items[i]
        if not (item in (1, x.itemsize) or (item > 8 and item % x.itemsize == 0)):
            raise SimulatorError(
                f"{self.name}: {name} has {x.dtype} elements of {x.itemsize} bytes, the kernel's have {item}"
            )
        if not (x.flags.c_contiguous or x.flags.f_contiguous):
            raise SimulatorError(f"{self.name}: {name} is not contiguous")
        if self._entry.kinds[i : i + 1] in b"pt" and not x.flags.writeable:
            raise SimulatorError(f"{self.name}: {name} is written, and the array is read-only")

    def _arrays(self, args, given, tables):
        """The memory of the launch, what overlaps as one; and which part of it each argument is in."""
        found: list[_Array] = []
        at: dict[int, int] = {}  # address -> which of them it is in
        for x, name in sorted(given, key=lambda g: (g[0].nbytes > 0, g[0].ctypes.data)):  # what is empty hides none
            start, end = x.ctypes.data, x.ctypes.data + x.nbytes
            if found and found[-1].bytes and start < found[-1].host + found[-1].bytes:
                found[-1].bytes = max(found[-1].bytes, end - found[-1].host)
                found[-1].name += b"=" + name.encode()
            else:
                found.append(_Array(start, x.nbytes, x.itemsize, name.encode()))
            at[start] = len(found) - 1
        array_of = [at.get(self._address(i, a), -1) for i, a in enumerate(args)]
        for i, table in tables.items():
            entries = (ctypes.c_int * max(table.size, 1))(*(at.get(int(address), -1) for address in table))
            name = self.signature.parameters[i].encode()
            found.append(_Array(table.ctypes.data, table.nbytes, table.itemsize, name, entries))
            array_of[i] = len(found) - 1
        return found, array_of

    def _points(self, i):
        return self._entry.kinds[i : i + 1] not in b"vm"

    def _address(self, i, a):
        """That of an array, given as such or in a tensor map; 0 for what is neither."""
        if self._entry.kinds[i : i + 1] == b"m":
            return int(a["base"])
        return a.ctypes.data if isinstance(a, np.ndarray) and self._points(i) else 0

    def _readable(self, message):
        offsets = [int(x, 16) for x in re.findall(r"<pc ([0-9a-f]+)>", message)]
        lines = build.source_lines(self.module.path, offsets)
        message = re.sub(r"<pc ([0-9a-f]+)>", lambda m: lines[int(m[1], 16)], message)
        return _PATH.sub(lambda m: "/".join(Path(m[1]).parts[1:][-2:]), message)  # folder and file say enough


def _three(n):
    return (ctypes.c_uint * 3)(*(*(int(i) for i in n), 1, 1)[:3])


def _said(order, seed):
    return f"thread order {order}:{seed}" if order == "random" else f"thread order {order}"
