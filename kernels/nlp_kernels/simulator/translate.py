"""CUDA C++ to C++: headers put in place, `__shared__` declarations rewritten; all else is left to macros.

Lines keep their numbers, so that the compiler and the simulator name the places of the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nlp_kernels.simulator.errors import SimulatorError

_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')|//[^\n]*|/\*.*?\*/', re.DOTALL)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"[^\n]*$', re.MULTILINE)
_LINE = re.compile(r'\A\s*#line 1 "([^"\n]+)"\n')
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once[ \t]*$", re.MULTILINE)
_SHARED = re.compile(r"\b(extern\s+)?(?:static\s+)?__shared__\s+([^;]*);")
_ALIGNMENT = re.compile(r"\A\s*(?:__align__|alignas)\s*\(((?:[^()]|\([^()]*\))*)\)")
_FIRST = re.compile(r"\A(.*?[\s>*&])(\w+)\s*((?:\[.*\])?)\s*\Z", re.DOTALL)
_FURTHER = re.compile(r"\A\s*(\w+)\s*((?:\[.*\])?)\s*\Z", re.DOTALL)
_CLUSTER = re.compile(r"__cluster_dims__\s*\(([^()]*)\)")
_TEMPLATE = re.compile(r"\btemplate\s*<([^{};]*)>\s*\Z")


@dataclass(frozen=True)
class Signature:
    """A `__global__` function as it is declared."""

    parameters: tuple[str, ...]
    template: tuple[str, ...]  # and its template's
    cluster: str  # the text of its __cluster_dims__, empty where it has none


def flatten(code: str, folders: Iterable[Path], name: str = "kernel.cu") -> str:
    """The source without comments, the headers it includes in quotes put in place once each.

    A first line `#line 1 "path"` says where the source is from, and that headers are sought beside it.
    """
    if match := _LINE.match(code):
        name, code = match[1], code[match.end() :]
    return "".join(_pieces(code, name, [Path(name).parent, *folders], set()))


def _pieces(code: str, name: str, folders: list[Path], seen: set[Path]) -> Iterator[str]:
    code = _ONCE.sub("", without_comments(code))
    yield f'#line 1 "{name}"\n'
    at = 0
    for match in _INCLUDE.finditer(code):
        yield code[at : match.start()]
        at, line = match.end(), code.count("\n", 0, match.end()) + 1
        header = next((f for folder in folders if (f := (folder / match[1]).resolve()).is_file()), None)
        if header is None:
            raise SimulatorError(f'{name}:{line}: there is no "{match[1]}" in {", ".join(map(str, folders))}')
        if header not in seen:
            seen.add(header)
            yield from _pieces(header.read_text(), str(header), [header.parent, *folders[1:]], seen)
            yield f'\n#line {line + 1} "{name}"'
    yield code[at:]


def without_comments(code: str) -> str:
    """Comments as blanks, lines kept."""
    return _COMMENT.sub(lambda m: m[0] if m[1] else re.sub(r"[^\n]", " ", m[0]), code)


def shared_memory(code: str) -> str:
    """`__shared__` declarations as references to what the simulator keeps for each block: see device/shared.h."""

    def rewritten(match: re.Match[str]) -> str:
        rest, alignment = match[2], ""
        if aligned := _ALIGNMENT.match(rest):
            alignment, rest = f"alignas({aligned[1]})", rest[aligned.end() :]
        first, *further = split(rest)
        parsed = _FIRST.match(first)
        if parsed is None:
            raise SimulatorError(f"cannot read the declaration {match[0]!r}: write one type and the arrays' names")
        kind = parsed[1]
        names = [(parsed[2], parsed[3])]
        names += [(m[1], m[2]) for text in further if (m := _FURTHER.match(text))]
        if match[1]:  # one name without a size
            text = f"typedef {kind} {names[0][0]}_shared_type; SIMULATOR_DYNAMIC({alignment}, {names[0][0]});"
        else:
            text = " ".join(
                f"typedef {kind} {name}_shared_type{size}; SIMULATOR_SHARED({alignment}, {name});"
                for name, size in names
            )
        return text.replace("\n", " ") + "\n" * match[0].count("\n")

    return _SHARED.sub(rewritten, code)


def signatures(code: str) -> dict[str, Signature]:
    """The kernels of a source without comments: name -> parameters' names."""
    found = {}
    for start in (m.end() for m in re.finditer(r"\b__global__\b", code)):
        head = _until_body(code, start)
        if not head.endswith(")"):
            continue
        opening = _opening(head)
        name = re.search(r"(\w+)\s*\Z", head[:opening])
        if name is None:
            continue
        given = [p for p in split(head[opening + 1 : -1]) if p.strip() not in ("", "void")]
        if any("TensorMap" in p and "__grid_constant__" not in p and "*" not in p for p in given):
            raise SimulatorError(f"{name[1]}: a tensor map is taken as `const __grid_constant__ ptx::TensorMap`")
        parameters = tuple(_name(p) for p in given)
        cluster = _CLUSTER.search(head)
        template = _TEMPLATE.search(code[: start - len("__global__")])
        arguments = tuple(_name(p) for p in split(template[1])) if template else ()
        found[name[1]] = Signature(parameters, arguments, cluster[1] if cluster else "")
    return found


def instance(name: str, signature: Signature) -> str:
    """The table entry of a name expression: the kernel, and the size of its cluster as C++ computes it."""
    values = split(name.partition("<")[2].rpartition(">")[0])
    size = " * ".join(f"({n})" for n in split(signature.cluster)) if signature.cluster else "1"
    for parameter, value in zip(signature.template, values, strict=False):
        size = re.sub(rf"\b{parameter}\b", f"({value.strip()})", size)
    return f"simulator::Instance<&{name}, {size}>::entry"


def split(text: str) -> list[str]:
    """At the commas that are in no bracket."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "<([{") - (c in ">)]}")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def _until_body(code, start):
    depth = 0
    for i in range(start, len(code)):
        depth += (code[i] == "(") - (code[i] == ")")
        if depth == 0 and code[i] in "{;":
            return code[start:i].rstrip()
    return ""


def _opening(head):
    depth = 0
    for i in range(len(head) - 1, -1, -1):
        depth += (head[i] == ")") - (head[i] == "(")
        if depth == 0:
            return i
    return 0


def _name(parameter):
    words = re.findall(r"\w+", parameter.partition("=")[0].partition("[")[0])
    return words[-1] if words else "?"
