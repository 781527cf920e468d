"""NVIDIA's run-time compiler through ctypes: from a CUDA source to registers, stack and spills, without a GPU."""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120")


@dataclass(frozen=True)
class Usage:
    """What a kernel takes of the machine, for each thread."""

    registers: int
    stack: int
    spills: int


class NotThereError(Exception):
    """The compiler is not installed."""


def library() -> ctypes.CDLL:
    """libnvrtc of the package from PyPI."""
    for folder in (f for path in map(Path, sys.path) for f in sorted(path.glob("nvidia/cu*/lib"), reverse=True)):
        for builtins in folder.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins))  # NVRTC looks for it by name
        for nvrtc in folder.glob("libnvrtc.so.*"):
            found = ctypes.CDLL(str(nvrtc))
            found.nvrtcGetErrorString.restype = ctypes.c_char_p
            return found
    raise NotThereError("NVRTC is not installed: pip install nvidia-cuda-nvrtc")


def compile_source(code: str, options: tuple[str, ...], names: tuple[str, ...], architecture: str) -> dict[str, Usage]:
    """Name expression -> usage; raises AssertionError with the compiler's words where it does not compile."""
    nvrtc, program = library(), ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"cuda.cu", 0, None, None)
    try:
        for name in names:
            nvrtc.nvrtcAddNameExpression(program, name.encode())
        given = [option.encode() for option in (*options, f"-arch={architecture}", "--ptxas-options=-v")]
        status = nvrtc.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
        log = _log(nvrtc, program)
        assert status == 0, f"{architecture}: {nvrtc.nvrtcGetErrorString(status).decode()}\n{log}"
        usages = _usages(log)
        return {name: usages[_lowered(nvrtc, program, name)] for name in names}
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _log(nvrtc: ctypes.CDLL, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, buffer)
    return buffer.value.decode()


def _lowered(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, name: str) -> str:
    mangled = ctypes.c_char_p()
    status = nvrtc.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(mangled))
    assert status == 0, f"there is no kernel {name}"
    return (mangled.value or b"").decode()


def _usages(log: str) -> dict[str, Usage]:
    """From ptxas -v: "Compiling entry function 'NAME' …", then its stack and spills, then its registers."""
    found = {}
    for name, rest in re.findall(r"entry function '(\w+)'(.*?Used \d+ registers)", log, re.DOTALL):
        stack, stores, loads = map(int, re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", rest)[:3])
        found[name] = Usage(int(re.findall(r"Used (\d+)", rest)[0]), stack, stores + loads)
    return found
