"""The README's tables, generated from `benchmarks/results/`.

python -m benchmarks.readme                 rewrites the tables between the README's markers
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.compare import RESULTS

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


TABLES = {"tape": tape, "gpt": gpt}


def rewritten(text: str) -> str:
    """The README with every table as the results have it."""
    for name, table in TABLES.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, count = re.subn(pattern, lambda m, table=table: f"{m[1]}{table()}\n{m[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"the README has {count} places for the table {name!r}, not one")
    return text


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text(encoding="utf-8")), encoding="utf-8")
