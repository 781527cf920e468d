"""Results as text: one line for each piece of work, one column for each candidate."""

from __future__ import annotations

from benchmarks.libraries import PEERS

UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"), (1e-3, "ns"))  # in µs


def lines(data: dict) -> list[tuple[str, ...]]:
    """The header first: work, candidates in the order of the results, what the first of them reaches."""
    names = list(dict.fromkeys(name for row in data["rows"].values() for name in row))
    roofs, works = data.get("roofs"), data.get("works", {})
    tokens = any("tokens" in counts for counts in works.values())
    last = ("of the roof",) if roofs and not tokens else ("tokens/s",) if tokens else ()
    table = [("work", *(PEERS.get(name, name) for name in names), *last)]
    for label, row in data["rows"].items():
        first = next(iter(row))
        cells = [cell(row, name, first) for name in names]
        if roofs and not tokens:
            cells.append(of_the_roof(works[label], row[first]["median_us"], roofs)[1])
        elif tokens:
            cells.append(f"{works[label]['tokens'] / row[first]['median_us'] * 1e6:,.0f}")
        table.append((label, *cells))
    return table


def markdown(table: list[tuple[str, ...]]) -> list[str]:
    header, *body = table
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return ["| " + " | ".join(cells) + " |" for cells in (header, rule, *body)]


def caption(data: dict) -> str:
    """What the numbers are, and how they were made."""
    threads = "one thread" if data["threads"] == 1 else f"{data['threads']} threads"
    text = f"{data['dtype']}, {threads}: median (quartiles); ×: how many times as fast ours, the first, is."
    if roofs := data.get("roofs"):
        text += (
            f" Roofs: a copy from memory {digits(roofs['copy_gb_per_s'])} GB/s (in the cache "
            f"{digits(roofs['cache_copy_gb_per_s'])}), multiply-adds {digits(roofs['fma_gflop_per_s'])} GFLOP/s."
        )
    if seconds := _compile_seconds(data["rows"]):
        text += f" Compiled, once: {seconds}."
    versions = ", ".join(f"{PEERS.get(name, name)} {version}" for name, version in data["versions"].items())
    return f"{text} {data['processor']}; {versions}."


def of_the_roof(counts: dict[str, int], microseconds: float, roofs: dict[str, float]) -> tuple[float, str]:
    """(fraction of the roof that is nearer, in words); above 1 where the arrays stay in the cache."""
    bytes_, flops = (counts[count] / microseconds / 1e3 for count in ("bytes", "flops"))
    memory, arithmetic = bytes_ / roofs["copy_gb_per_s"], flops / roofs["fma_gflop_per_s"]
    if memory > arithmetic:
        return memory, f"{digits(bytes_)} GB/s, {memory:.0%}"
    return arithmetic, f"{digits(flops)} GFLOP/s, {arithmetic:.0%}"


def digits(x: float) -> str:
    return f"{x:.3g}" if x < 1000 else f"{x:,.0f}"


def cell(row: dict[str, dict], name: str, first: str) -> str:
    """A candidate's median and quartiles, and the ratio to the first's."""
    if name not in row:
        return ""
    size, unit = next((size, unit) for size, unit in UNITS if row[name]["median_us"] >= size or unit == "ns")
    median, low, high = (digits(row[name][key] / size) for key in ("median_us", "low_us", "high_us"))
    text = f"{median} {unit} ({low} – {high})"
    return text if name == first else f"{text} {row[name]['median_us'] / row[first]['median_us']:.2f}×"


def _compile_seconds(rows: dict[str, dict]) -> str:
    found: dict[str, list[float]] = {}
    for row in rows.values():
        for name, r in row.items():
            if "compile_s" in r:
                found.setdefault(name, []).append(r["compile_s"])
    spans = {name: sorted({f"{min(s):.1f}", f"{max(s):.1f}"}, key=float) for name, s in found.items()}
    return ", ".join(
        f"{PEERS.get(name, name)} {' – '.join(span)} s" + (" a row" if name in PEERS else "")
        for name, span in spans.items()
    )
