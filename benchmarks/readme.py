"""The tables and pictures of the READMEs, the project's and each hot path's, generated from `benchmarks/results/`.

python -m benchmarks.readme                 rewrites the tables between the READMEs' markers
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from nlp_kernels.dispatch import HOT_PATHS, ROOT

from benchmarks import quality
from benchmarks.bars import table
from benchmarks.compare import RESULTS
from benchmarks.hot_path import PARTS
from benchmarks.libraries import PEERS
from benchmarks.tables import caption, digits, lines, markdown

README = Path(__file__).parents[1] / "README.md"
FIGURES = README.parent / "docs" / "figures"
MACHINE = "amd-epyc-2cores"  # whose results the README shows


def results(name: str) -> dict:
    return json.loads((RESULTS / MACHINE / f"{name}.json").read_text())


def threads_of(name: str) -> list[dict]:
    """What was measured on all cores and on one, as far as it was."""
    files = [RESULTS / MACHINE / f"{name}{suffix}.json" for suffix in ("", "-1threads")]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def picture(name: str, page: Path, alt: str) -> list[str]:
    """The link, where there is such a picture."""
    path = FIGURES / f"{name}.png"
    return [f"![{alt}]({os.path.relpath(path, page.parent)})", ""] if path.exists() else []


def hot_path(name: str) -> str:
    """The picture, and every backend and peer by work: on all cores, then on one; the same for its parts."""
    text = []
    for part in (name, *PARTS.get(name, ())):
        text += picture(part, ROOT / name / "README.md", f"speed of {part} relative to PyTorch eager, by shape")
        for data in threads_of(part):
            text += [*markdown(lines(data)), "", caption(data), ""]
    return "\n".join(text).rstrip()


def bars() -> str:
    """Each bar, what was measured, and whether it is held."""
    if not (RESULTS / MACHINE / "bars.json").exists():
        return ""
    data = results("bars")
    versions = ", ".join(f"{PEERS.get(name, name)} {version}" for name, version in data["versions"].items())
    machine = f"float32, {data['threads']} threads of {data['processor']}, {data['processes']} processes; {versions}."
    return "\n".join([*markdown(table(data["rows"])), "", machine])


def roofline() -> str:
    return "\n".join(
        picture("roofline", README, "FLOP/s over FLOPs a byte of every hot path, under the roofs")
    ).rstrip()


def tape() -> str:
    """Microseconds per function of each chain, ours and PyTorch's, and the ratio."""
    data = results("tape")
    doubled = ", ".join(f"{ratio:.2f} at T = {int(T):,}" for T, ratio in data["loop_over_time"].items())
    sweep = f"Twice the steps of `h = tanh(h w + x[t])` take {doubled} times as long to sweep."
    return "\n".join([*markdown(lines(data)), "", sweep, caption(data)])


def gpt() -> str:
    """Time, tokens per second and peak memory of a step, ours and PyTorch's."""
    data = results("gpt")
    names = {"ours": "tinygrad-nlp", "reference": "its readable references"} | PEERS
    text = [("model", "", "step, median (quartiles)", "tokens/s", "our speed", "peak memory")]
    for work, row in data["rows"].items():
        for who, r in row.items():
            step = " – ".join(digits(r[key] / 1e3) for key in ("low_us", "high_us"))
            rate = data["works"][work]["tokens"] / r["median_us"] * 1e6
            speed = "" if who == "ours" else f"{r['median_us'] / row['ours']['median_us']:.2f}×"
            peak = data.get("peak_bytes", {}).get(work, {}).get(who)
            memory = f"{peak / 1e6:,.0f} MB" if peak else ""
            text.append(
                (work, names[who], f"{digits(r['median_us'] / 1e3)} ms ({step})", f"{rate:,.0f}", speed, memory)
            )
    return "\n".join([*markdown(text), "", caption(data)])


def language_model() -> str:
    """A training step on every machine that it was measured on."""
    text = []
    for file in sorted(RESULTS.glob("*/language_model*.json"), key=lambda f: (f.parent, len(f.name))):
        data = json.loads(file.read_text())
        text += [*markdown(lines(data)), "", caption(data), ""]
    return "\n".join(text).rstrip()


def model_quality() -> str:
    """Each model's measure here and in PyTorch, over seeds."""
    if not quality.FILE.exists():
        return ""
    alt = "a dot for each seed of each model, here and in PyTorch"
    return "\n".join(
        [
            *markdown(quality.table(json.loads(quality.FILE.read_text()))),
            "",
            *picture("quality", DOCS / "models.md", alt),
        ]
    ).rstrip()


def gradient_checkers() -> str:
    """Bugs caught, false alarms and time of each checker."""
    data = results("gradient_checkers")
    text = ["| checker | bugs caught | false alarms | a check, median |", "|---|---|---|---|"]
    for name, row in data["rows"].items():
        caught = f"{row['bugs_caught']} of {data['bugs']}"
        text.append(f"| {name} | {caught} | {row['false_alarms']} of {row['draws']:,} | {row['median_ms']:.1f} ms |")
    text += ["", "Ours to second order by the input and all parameters of a layer, median (quartiles):"]
    for name, row in data["layers"].items():
        ms = {key: us / 1e3 for key, us in row.items()}
        text.append(f"{name} {ms['median_us']:.0f} ms ({ms['low_us']:.0f} – {ms['high_us']:.0f}),")
    return "\n".join(text).rstrip(",") + f". Machine: {data['machine']}."


def gpt_profile() -> str:
    """Milliseconds of a step by part, references and kernels side by side for each size."""
    if not (RESULTS / MACHINE / "gpt_profile.json").exists():
        return ""
    data = results("gpt_profile")
    sides = [(label, side) for label, of in data["rows"].items() for side in of]
    parts = {part: 0.0 for label, side in sides for part in data["rows"][label][side]}
    for label, side in sides:
        for part, ms in data["rows"][label][side].items():
            parts[part] = max(parts[part], ms)
    header = ("milliseconds", *(f"{label}: {side}" for label, side in sides))
    body = [
        (part, *(f"{data['rows'][label][side].get(part, 0.0):.1f}" for label, side in sides))
        for part in sorted(parts, key=lambda part: -parts[part])
    ]
    total = ("all", *(f"{sum(data['rows'][label][side].values()):.0f}" for label, side in sides))
    return "\n".join([*markdown([header, *body, total]), "", f"float32, {data['threads']} threads, {data['machine']}."])


Tables = Mapping[str, Callable[[], str]]  # by the name of their markers
TABLES: Tables = {
    "bars": bars,
    "roofline": roofline,
    "tape": tape,
    "gpt": gpt,
    "gradient_checkers": gradient_checkers,
}
DOCS = README.parent / "docs"
PAGES: dict[Path, Tables] = {
    README: TABLES,
    DOCS / "gpt-step.md": {"gpt_profile": gpt_profile},
    DOCS / "models.md": {"quality": model_quality, "language_model": language_model},
} | {ROOT / name / "README.md": {"benchmark": partial(hot_path, name)} for name in HOT_PATHS}


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
