"""The page of a card, from the results of its hot paths: bars, tables, the roofline.

python -m benchmarks.gpu.report CARD        a folder of benchmarks/results/
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import compare
from benchmarks.gpu.passes import known
from benchmarks.gpu.peers import PEERS
from benchmarks.gpu.results import caption, lines
from benchmarks.tables import markdown


def measured(folder: Path) -> dict[str, dict]:
    """The results by name: the hot paths' in float32, then those in other dtypes."""
    names = [*known(), *(f"{name}-{dtype}" for dtype in ("bfloat16", "float64") for name in known())]
    files = {name: folder / f"{name}.json" for name in names}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def bars(measured: dict[str, dict]) -> list[tuple[str, ...]]:
    """The header first; one line for each bar: what was measured, what was wanted, whether it is held."""
    table: list[tuple[str, ...]] = [("", "work", "against", "wanted", "measured, median (quartiles)", "")]
    for name, data in measured.items():
        for v in data["verdicts"]:
            work = v["work"] if v["who"] == next(iter(data["rows"][v["work"]])) else f"{v['work']}, {v['who']}"
            share = v["against"] in ("copy", "read")
            form = "{:.0%}".format if share else "{:.2f}×".format
            against = f"the {v['against']} ceiling" if share else PEERS.get(v["against"], v["against"])
            wanted = f"{v['bar']:.0%}" if share else f"{v['bar']:g}×"
            if "not_judged" in v:
                speed, verdict = v["not_judged"], "not judged"
            else:
                speed = f"{form(v['median'])} ({form(v['low'])} – {form(v['high'])})"
                verdict = "held" if v["held"] else "not held"
            table.append((name, work, against, wanted, speed, verdict))
    return table


def page(measured: dict[str, dict]) -> str:
    """All of it in Markdown; README.md of the card's folder."""
    first = next(iter(measured.values()))
    text = [
        f"# {first['processor']}",
        "",
        "How it is measured: [docs/gpu-benchmarks.md](../../../docs/gpu-benchmarks.md).",
    ]
    if len(verdicts := bars(measured)) > 1:
        held = [line[-1] for line in verdicts[1:]]
        text += ["", "## Bars", "", f"{held.count('held')} of {len(held)} are held.", "", *markdown(verdicts)]
    if any(data["roofs"] for data in measured.values()):
        text += ["", "![GFLOP/s over FLOPs a byte of every pass, under the card's roofs](roofline.png)"]
    for name, data in measured.items():
        text += ["", f"## {name}", "", f"`{data['command']}`", "", *markdown(lines(data)), "", caption(data)]
    return "\n".join(text) + "\n"


def write(folder: Path) -> list[Path]:
    """README.md and roofline.png of what there is; nothing where there is nothing."""
    found = measured(folder)
    if not found:
        return []
    written = [folder / "README.md"]
    written[0].write_text(page(found), encoding="utf-8")
    there = {
        name: data for name, data in found.items() if data["roofs"] and data["dtype"] == "float32" and data["rows"]
    }
    if there:
        from benchmarks import figures

        title = f"{next(iter(there.values()))['processor']}, float32; filled: this library, hollow: PyTorch eager"
        written.append(folder / "roofline.png")
        figures.saved(figures.roofline(there, title), written[-1])
    return written


def main(argv: list[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    cards = sorted(folder.parent.name for folder in compare.RESULTS.glob("*/*.json") if measured(folder.parent))
    options.add_argument("card", choices=cards)
    for path in write(compare.RESULTS / options.parse_args(argv).card):
        print(path)


if __name__ == "__main__":
    main()
