"""The tables of the READMEs, the project's and each hot path's, generated from `benchmarks/results/`.

python -m benchmarks.readme                 rewrites the tables between the READMEs' markers
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from nlp_kernels.dispatch import HOT_PATHS, ROOT

from benchmarks.compare import RESULTS
from benchmarks.hot_path import table

README = Path(__file__).parents[1] / "README.md"
MACHINE = "amd-epyc-2cores"  # whose results the README shows


def results(name: str) -> dict:
    return json.loads((RESULTS / MACHINE / f"{name}.json").read_text())


def tape() -> str:
    """Microseconds per function of each chain, ours and PyTorch's, and the ratio."""
    lines = ["| chain of 1,000 | tinygrad-nlp | PyTorch | our speed |", "|---|---|---|---|"]
    data = results("tape")
    for chain, row in data["rows"].items():
        ours, torch = (
            f"{row[k]['median_us']:.1f} µs ({row[k]['low_us']:.1f} – {row[k]['high_us']:.1f})"
            for k in ("ours", "torch")
        )
        lines.append(f"| {chain.replace('_', ', ')} | {ours} | {torch} | {row['torch']['our_speed']:.2f}× |")
    doubled = ", ".join(f"{ratio:.2f} at T = {int(T):,}" for T, ratio in data["loop_over_time"].items())
    lines += [
        "",
        f"Twice the steps of `h = tanh(h w + x[t])` take {doubled} times as long to sweep. Machine: {data['machine']}.",
    ]
    return "\n".join(lines)


def gpt() -> str:
    """Tokens per second, ours and PyTorch's."""
    data = results("gpt")
    row = data["rows"]["gpt"]
    lines = ["| | step, median (quartiles) | tokens/s | our speed |", "|---|---|---|---|"]
    for name, label in (("ours", "tinygrad-nlp, references"), ("torch", "PyTorch eager")):
        r = row[name]
        step = f"{r['median_us'] / 1e3:.0f} ms ({r['low_us'] / 1e3:.0f} – {r['high_us'] / 1e3:.0f})"
        ratio = f"{r['our_speed']:.2f}×" if name == "torch" else ""
        lines.append(f"| {label} | {step} | {r['tokens_per_second']:,.0f} | {ratio} |")
    return "\n".join([*lines, "", f"Machine: {data['machine']}."])


def backends(hot_path: str) -> str:
    """Every backend of a hot path and PyTorch eager; nothing where nothing was measured."""
    if not (RESULTS / MACHINE / f"{hot_path}.json").exists():
        return ""
    data = results(hot_path)
    header, *lines = table(data["rows"])
    rule = ["---" if column in ("work", "backend") else "---:" for column in header]
    text = ["| " + " | ".join(cells) + " |" for cells in (header, rule, *lines)]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    threads = "one thread" if data["threads"] == 1 else f"{data['threads']} threads"
    return "\n".join([*text, "", f"{data['dtype']}, {threads}. Machine: {data['machine']}; {versions}."])


def gradient_checkers() -> str:
    """Bugs caught, false alarms and time of each checker."""
    data = results("gradient_checkers")
    lines = ["| checker | bugs caught | false alarms | a check, median |", "|---|---|---|---|"]
    for name, row in data["rows"].items():
        caught = f"{row['bugs_caught']} of {data['bugs']}"
        lines.append(f"| {name} | {caught} | {row['false_alarms']} of {row['draws']:,} | {row['median_ms']:.1f} ms |")
    lines += ["", "Ours to second order by the input and all parameters of a layer, median (quartiles):"]
    for name, row in data["layers"].items():
        ms = {key: us / 1e3 for key, us in row.items()}
        lines.append(f"{name} {ms['median_us']:.0f} ms ({ms['low_us']:.0f} – {ms['high_us']:.0f}),")
    return "\n".join(lines).rstrip(",") + f". Machine: {data['machine']}."


Tables = Mapping[str, Callable[[], str]]  # by the name of their markers
TABLES: Tables = {"tape": tape, "gpt": gpt, "gradient_checkers": gradient_checkers}
PAGES: dict[Path, Tables] = {README: TABLES} | {
    ROOT / hot_path / "README.md": {"benchmark": partial(backends, hot_path)} for hot_path in HOT_PATHS
}


def rewritten(text: str, tables: Tables = TABLES) -> str:
    """A README with every table as the results have it."""
    for name, make in tables.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if (text.count(start), text.count(end)) != (1, 1):
            raise ValueError(f"the README has {text.count(start)} places for the table {name!r}, not one")
        before, _, rest = text.partition(start)
        content = make()
        text = before + start + (f"{content}\n" if content else "") + end + rest.partition(end)[2]
    return text


def main() -> None:
    for page, tables in PAGES.items():
        page.write_text(rewritten(page.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()
