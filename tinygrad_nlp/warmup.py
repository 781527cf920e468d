"""`tinygrad-nlp warmup`: compile every CPU kernel now, so that nothing waits for it later."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from nlp_kernels import dispatch
from nlp_kernels.errors import UserError

DTYPES = ("float32", "float64")


def warm_up(dtypes: Sequence[str] = DTYPES, *, quiet: bool = False) -> str:
    """Compile what is not in the cache; a progress bar on standard error. Returns what was done, in a sentence."""
    work = kernels_and_dtypes(dtypes)
    from nlp_kernels.common.compiled import cache_root
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    began = time.perf_counter()
    fresh = [part for part in work if not part[0].is_kept(part[1])]
    bar = Progress(
        TextColumn("compiling {task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("", total=len(fresh))
        for kernel, dtype in fresh:
            bar.update(task, description=f"{kernel} {dtype}")
            kernel.compile(dtype)
            bar.advance(task)
    folder = cache_root()
    return f"{len(fresh)} of {len(work)} kernels compiled in {time.perf_counter() - began:.1f} s, " + (
        f"the others were there; all lie in {folder}" if folder else "but not kept: no folder can be written to"
    )


def kernels_and_dtypes(dtypes: Sequence[str] = DTYPES) -> list[tuple[Any, str]]:
    """Everything there is to compile; UserError without Numba."""
    for hot_path in dispatch.HOT_PATHS:
        dispatch.backends(hot_path)  # imports its kernels
    try:
        from nlp_kernels.common.compiled import KERNELS
    except ImportError as error:
        raise UserError(f"the kernels need Numba, and it cannot be imported: {error}") from error
    return [(kernel, dtype) for kernel in KERNELS for dtype in dtypes]
