"""What the compiler makes of every CUDA kernel, as a table: `python -m benchmarks.registers [HOT_PATH …]`.

Writes benchmarks/results/registers/<hot path>.md, and refuses spills. The tests ask that each table is of the source
as it is, by its digest, and compile some of it again; with another compiler than the table's, all of it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from nlp_kernels import dispatch
from nlp_kernels.common.cuda import Source
from nlp_kernels.simulator import translate

from benchmarks.nvrtc import ARCHITECTURES, Usage, compile_source, version

FOLDER = Path(__file__).parent / "results" / "registers"
DTYPES = ("float32", "float64", "bfloat16")
HEADING = """# Registers of the CUDA kernels of {hot_path}

Registers a thread, as NVRTC {version} gives them; – where {lacks}. No kernel spills or has a stack.
`{command}` writes this table, and the tests compare it. Digest of the source: {digest}.

| kernel | {columns} |
|---|{rule}|
"""


def hot_paths() -> list[str]:
    """Those that have a `cuda.cu`, and further sources as `matmul.tensor_cores`."""
    found = [path.relative_to(dispatch.ROOT).with_suffix("") for path in dispatch.ROOT.glob("*/*.cu")]
    return sorted(".".join(path.parts).removesuffix(".cuda") for path in found)


def source(hot_path: str) -> Source:
    """The CUDA source of a hot path, or a further one."""
    found: Source = import_module(f"nlp_kernels.{hot_path}" + ("" if "." in hot_path else ".cuda")).SOURCE
    return found


def dtypes(hot_path: str) -> tuple[str, ...]:
    """The dtypes that a source can be compiled for; bfloat16 where its arithmetic is another type than its arrays'."""
    found = source(hot_path)
    return found.dtypes or (DTYPES if "arithmetic<" in found.path.read_text() else DTYPES[:2])


def architectures(hot_path: str) -> tuple[str, ...]:
    """Those that a source can be compiled for; one that is for sm_90a says so itself, also where sm_90 is asked for."""
    found = source(hot_path)
    return tuple(
        name for name in ARCHITECTURES if (found.only or name).startswith(name) and int(name[3:]) >= found.oldest
    )


def compiled(hot_path: str, dtype: str, architecture: str, *, disassemble: bool = False) -> dict[str, Usage]:
    """Name expression -> usage, of every kernel that the architecture can have."""
    found = source(hot_path)
    names = found.names(dtype, clusters=int(architecture[3:]) >= 90)
    return compile_source(found.code, found.options(dtype), names, architecture, disassemble=disassemble)


def digest(hot_path: str) -> str:
    """Of all that the compiler is given but comments and the version of the compiler."""
    found = source(hot_path)
    code = re.sub(r'^#line.*|"/.*?"|\s+$', "", translate.flatten(found.code, []), flags=re.MULTILINE)
    given = [code.strip(), *dtypes(hot_path), *found.names("float32"), str(found.oldest), *found.options("float32")]
    return hashlib.sha256("\n".join(g for g in given if not g.startswith("-I")).encode()).hexdigest()[:16]


def readable(name: str) -> str:
    """A name expression with its quotients computed: `softmax_forward<float, 32, 8, 4>`."""
    name = re.sub(r"arithmetic<(\w+)>", lambda m: m[1].replace("__nv_bfloat16", "float"), name)
    size = {"float": 4, "double": 8, "__nv_bfloat16": 2}
    return re.sub(r"(\d+) / sizeof\((\w+)\)", lambda m: str(int(m[1]) // size[m[2]]), name)


def table(hot_path: str) -> str:
    """The table as Markdown."""
    rows: dict[str, dict[str, int]] = {}
    for dtype in dtypes(hot_path):
        for architecture in architectures(hot_path):
            for name, usage in compiled(hot_path, dtype, architecture).items():
                if usage.spills or usage.stack:
                    raise SystemExit(f"{name} on {architecture} spills or has a stack: {usage}")
                rows.setdefault(readable(name), {})[architecture] = usage.registers
    command = f"python -m benchmarks.registers {hot_path}"
    columns, rule = " | ".join(ARCHITECTURES), "|".join("---:" for _ in ARCHITECTURES)
    found = source(hot_path)
    lacks = "there are no such tensor cores" if found.only or found.oldest > 75 else "blocks cannot share a row"
    heading = HEADING.format(
        hot_path=hot_path, version=version(), lacks=lacks, command=command, columns=columns, rule=rule,
        digest=digest(hot_path),
    )  # fmt: skip
    return heading + "".join(
        f"| `{name}` | {' | '.join(str(found.get(a, '–')) for a in ARCHITECTURES)} |\n"
        for name, found in sorted(rows.items(), key=_by_kernel)
    )


@dataclass(frozen=True)
class Written:
    """A table that was written."""

    version: str  # of NVRTC
    digest: str
    registers: dict[tuple[str, str], int]  # by kernel and architecture


def written(hot_path: str) -> Written:
    """The table of a hot path."""
    text = (FOLDER / f"{hot_path}.md").read_text()
    said = re.search(r"NVRTC ([\d.]+\d).*?Digest of the source: (\w+)", text, re.DOTALL)
    return Written(said[1] if said else "", said[2] if said else "", dict(_cells(text)))


def _cells(text: str) -> Iterator[tuple[tuple[str, str], int]]:
    for name, cells in re.findall(r"^\| `(.*?)` \| (.*) \|$", text, re.MULTILINE):
        for architecture, cell in zip(ARCHITECTURES, cells.split(" | "), strict=True):
            if cell != "–":
                yield (name, architecture), int(cell)


def _by_kernel(row: tuple[str, dict[str, int]]) -> tuple[str, str, list[int]]:
    name, _, arguments = row[0].partition("<")
    return name, re.sub(r"\d", "", arguments), [int(n) for n in re.findall(r"\b\d+", arguments)]


def main() -> None:
    """Write the tables of all hot paths, or of those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hot_path", nargs="*", choices=[*hot_paths(), []], help="(default: all)")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for hot_path in parser.parse_args().hot_path or hot_paths():
        (FOLDER / f"{hot_path}.md").write_text(table(hot_path))
        print(FOLDER / f"{hot_path}.md")


if __name__ == "__main__":
    main()
