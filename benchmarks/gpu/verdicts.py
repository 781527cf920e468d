"""A row's times against its bars: shares of the card's ceilings and ratios to the peers, round by round.

A bar is held as on the CPU: by the median of the ratios, or within half their interquartile range below it. Times near
that of an empty launch say more of launches than of kernels: they are marked, and no bar is judged by them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks.bars import verdict
from benchmarks.compare import Times
from benchmarks.gpu.passes import Bars

COPIES = ("copy", "copy_persistent", "copyto")  # the fastest of them is the ceiling
NEAR = 3.0  # times an empty launch


def fastest(medians: Mapping[str, float], ceiling: str) -> str | None:
    """Who stands for a ceiling in a row: the fastest copy, or the one of that name."""
    there = [who for who in (COPIES if ceiling == "copy" else (ceiling,)) if who in medians]
    return min(there, key=medians.__getitem__, default=None)


def near_the_floor(medians: Mapping[str, float], who: str) -> bool:
    return medians[who] < NEAR * medians["empty"]


def judged(label: str, times: Mapping[str, Times], bars: Bars, ceiling: str) -> list[dict]:
    """One verdict for each bar: {"work", "against", "bar", "median", "low", "high", "held"}, or why there is none."""
    medians = {who: statistics.median(t.seconds) for who, t in times.items()}
    found = []
    for name, bar in bars.items():
        ours, _, against = name.rpartition("/")
        ours = ours or next(iter(times))
        row = {"work": label, "who": ours, "against": against, "bar": bar}
        who = fastest(medians, against)
        if who is None or ours not in medians:
            found.append({**row, "not_judged": "not measured"})
        elif near_the_floor(medians, ours):
            found.append({**row, "not_judged": "near the time of an empty launch"})
        else:
            pairs = zip(times[who].seconds, times[ours].seconds, strict=True)
            kept = verdict([theirs / our for theirs, our in pairs], bar)
            del kept["ratios"]
            found.append({**row, **kept})
    return found
