"""Compile CUDA sources with g++, against CUDA's own headers, into libraries that are kept in the cache."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nlp_kernels.cache import cache_home
from nlp_kernels.simulator.errors import SimulatorError, SimulatorMissingError

HERE = Path(__file__).parent
GET_COMPILER = "apt-get install g++ (or your system's package of GCC)"
GET_HEADERS = "pip install nvidia-cuda-runtime nvidia-cuda-crt"
FLAGS = ("-std=c++17", "-O2", "-g1", "-gdwarf-4", "-fPIC", "-fvisibility=hidden", "-w")
# Before each access the compiler calls a function of the name that ThreadSanitizer has: here it is the simulator's,
# which knows all arrays. (AddressSanitizer's instrumentation would do, but leaves out the store of `x[i]++`.)
INSTRUMENTED = (
    "-fsanitize=thread",
    "-fsanitize=alignment",
    "-fno-sanitize-recover=alignment",
    "-fno-strict-aliasing",
    "-fno-exceptions",
    "-ffp-contract=off",
)
_ENGLISH = {**os.environ, "LC_ALL": "C"}


@functools.cache
def compiler() -> str:
    """The path of g++ (or what the variable CXX names); raises SimulatorMissingError."""
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux":
        raise SimulatorMissingError(
            f"the CUDA simulator runs on x86-64 Linux, this is {sys.platform} {platform.machine()}: "
            "simulator/runtime/context.h is where another machine is added"
        )
    for name in (os.environ.get("CXX"), "g++", "c++"):
        if name and (path := shutil.which(name)) and "Free Software Foundation" in _said(path, "--version"):
            return path
    raise SimulatorMissingError(f"the CUDA simulator compiles kernels with g++, which is not there: {GET_COMPILER}")


@functools.cache
def compiler_version() -> str:
    """Its first line of `--version`."""
    return _said(compiler(), "--version").partition("\n")[0]


@functools.cache
def headers() -> Path:
    """The folder of CUDA's headers, from PyPI or a CUDA toolkit; raises SimulatorMissingError."""
    for folder in _header_folders():
        if (folder / "vector_types.h").is_file() and (folder / "crt" / "host_defines.h").is_file():
            return folder
    raise SimulatorMissingError(f"the CUDA simulator needs CUDA's headers, which are not there: {GET_HEADERS}")


def _header_folders() -> Iterable[Path]:
    for path in map(Path, sys.path):
        yield from sorted(path.glob("nvidia/cu*/include"), reverse=True)  # the newest first
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        if variable in os.environ:
            yield Path(os.environ[variable]) / "include"
    yield Path("/usr/local/cuda/include")


def library(code: str) -> Path:
    """The shared library of a translated source and the simulator's runtime, compiled where it is not kept."""
    runtime = _kept("runtime", _runtime_digest(), ".o", [*FLAGS, "-c", str(HERE / "runtime" / "runtime.cpp")])
    key = _digest(code, _runtime_digest(), _device_digest(), *INSTRUMENTED)
    folders = [f"-I{HERE / 'device'}", f"-isystem{headers()}"]
    if (kept := _path("kernels", key, ".so")).exists():
        return kept
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernels.cpp"
        source.write_text('#include "cuda.h"\n' + code)
        compiled = Path(folder) / "kernels.o"
        _compile([*FLAGS, *INSTRUMENTED, *folders, "-c", str(source), "-o", str(compiled)])
        return _kept("kernels", key, ".so", ["-shared", str(compiled), str(runtime)])


def source_lines(path: Path, offsets: Iterable[int]) -> dict[int, str]:
    """Code offsets of a library -> "file:line" of the source, by addr2line of the compiler's tools."""
    offsets = sorted(set(offsets))
    tool = shutil.which("addr2line")
    if not offsets or tool is None:
        return {offset: f"offset {offset:#x}" for offset in offsets}
    # a return address is the one after the call
    said = _said(tool, "-e", str(path), *(hex(offset - 1) for offset in offsets)).splitlines()
    return {offset: line.partition(" (")[0] for offset, line in zip(offsets, said, strict=True)}


def _path(kind: str, key: str, suffix: str) -> Path:
    return cache_home() / "simulator" / f"{kind}-{key}{suffix}"


def _kept(kind: str, key: str, suffix: str, arguments: list[str]) -> Path:
    """Compile into the cache, aside and renamed: two processes may do the same."""
    path = _path(kind, key, suffix)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}{suffix}")
        _compile([*arguments, "-o", str(aside)])
        aside.replace(path)
    return path


def _compile(arguments: list[str]) -> None:
    done = subprocess.run([compiler(), *arguments], capture_output=True, text=True, cwd="/", env=_ENGLISH)
    if done.returncode:
        raise SimulatorError(f"the kernel does not compile:\n{_errors(done.stderr)}")


def _errors(text):
    lines = [line for line in text.splitlines() if " error: " in line or "required from" in line]
    return "\n".join(lines[:5]) or text[:2000]


@functools.cache
def _runtime_digest() -> str:
    return _digest(*_texts(HERE / "runtime", HERE / "interface.h"), compiler_version(), *FLAGS)


@functools.cache
def _device_digest() -> str:
    version = (headers() / "vector_types.h", headers() / "cuda_bf16.h", headers() / "cuda_fp16.h")
    return _digest(*_texts(HERE / "device"), str(headers()), *(f.read_text() for f in version if f.exists()))


def _texts(*places: Path) -> list[str]:
    files = (sorted(f for f in place.rglob("*") if f.is_file()) if place.is_dir() else [place] for place in places)
    return [file.read_text() for group in files for file in group]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, env=_ENGLISH).stdout
