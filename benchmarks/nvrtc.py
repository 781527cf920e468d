"""NVIDIA's run-time compiler through ctypes: from a CUDA source to registers, stack, spills and machine instructions.

Needs no GPU: `nvidia-cuda-nvrtc` and `nvidia-cuda-nvdisasm` are packages of PyPI.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120")


@dataclass(frozen=True)
class Usage:
    """What a kernel takes of the machine, for each thread."""

    registers: int
    stack: int  # bytes
    spills: int  # bytes
    instructions: tuple[str, ...] = ()  # in their order, as LDG.E.128, where they were asked for


class NotThereError(Exception):
    """A tool is not installed."""


def library() -> ctypes.CDLL:
    """libnvrtc of the package from PyPI."""
    for folder in _folders("lib"):
        for builtins in folder.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins))  # NVRTC looks for it by name
        for nvrtc in folder.glob("libnvrtc.so.*"):
            found = ctypes.CDLL(str(nvrtc))
            found.nvrtcGetErrorString.restype = ctypes.c_char_p
            return found
    raise NotThereError("NVRTC is not installed: pip install nvidia-cuda-nvrtc")


def disassembler() -> Path:
    """nvdisasm of the package from PyPI."""
    for folder in _folders("bin"):
        if (found := folder / "nvdisasm").is_file():
            return found
    raise NotThereError("nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")


def version() -> str:
    """NVRTC's, as 13.0."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def compile_source(
    code: str, options: tuple[str, ...], names: tuple[str, ...], architecture: str, *, disassemble: bool = False
) -> dict[str, Usage]:
    """Name expression -> usage; raises AssertionError with the compiler's words where it does not, or complains."""
    nvrtc, program = library(), ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"cuda.cu", 0, None, None)
    try:
        for name in names:
            nvrtc.nvrtcAddNameExpression(program, name.encode())
        headers = [f"-I{folder}" for folder in _folders("include")]
        given = [option.encode() for option in (*options, *headers, f"-arch={architecture}", "--ptxas-options=-v")]
        status = nvrtc.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
        log = _log(nvrtc, program)
        assert status == 0, f"{architecture}: {nvrtc.nvrtcGetErrorString(status).decode()}\n{log}"
        assert "(C75" not in log, f"{architecture}: {log}"  # waits added for wgmma, setmaxnreg left out, …
        instructions = _instructions(_cubin(nvrtc, program)) if disassemble else {}
        usages = _usages(log, instructions)
        return {name: usages[_lowered(nvrtc, program, name)] for name in names}
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _folders(kind: str) -> Iterator[Path]:
    return (folder for path in map(Path, sys.path) for folder in sorted(path.glob(f"nvidia/cu*/{kind}"), reverse=True))


def _log(nvrtc: ctypes.CDLL, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, buffer)
    return buffer.value.decode()


def _cubin(nvrtc: ctypes.CDLL, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, buffer)
    return buffer.raw


def _lowered(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, name: str) -> str:
    mangled = ctypes.c_char_p()
    status = nvrtc.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(mangled))
    assert status == 0, f"there is no kernel {name}"
    return (mangled.value or b"").decode()


def _usages(log: str, instructions: dict[str, tuple[str, ...]]) -> dict[str, Usage]:
    """From ptxas -v: "Compiling entry function 'NAME' …", then its stack and spills, then its registers."""
    found = {}
    for name, rest in re.findall(r"entry function '(\w+)'(.*?Used \d+ registers)", log, re.DOTALL):
        stack, stores, loads = map(int, re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", rest)[:3])
        registers = int(re.findall(r"Used (\d+)", rest)[0])
        found[name] = Usage(registers, stack, stores + loads, instructions.get(name, ()))
    return found


def _instructions(cubin: bytes) -> dict[str, tuple[str, ...]]:
    """Those of each kernel: a section `.text.NAME`, lines `/*02b0*/ @P0 LDG.E.128 R4, …`.

    Of a wait for wgmma also how many groups it leaves open: `WARPGROUP.DEPBAR.LE gsb0, 0x1`.
    """
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([disassembler(), "-c", file.name], check=True, capture_output=True, text=True).stdout
    _, *sections = re.split(r"^\.text\.(\w+):$", text, flags=re.MULTILINE)
    opcode = re.compile(r"/\*[0-9a-f]+\*/\s+(?:@!?U?P\d\s+)?([A-Z][A-Z0-9_.x]*(?: gsb0, 0x\d+)?)")
    return {name: tuple(opcode.findall(body)) for name, body in zip(sections[::2], sections[1::2], strict=True)}
