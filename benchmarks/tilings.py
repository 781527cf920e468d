"""How the kernels of matmul and attention cut their work into tiles, drawn.

python -m benchmarks.tilings         writes docs/figures/matmul-tiles.png and docs/figures/attention-tiles.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nlp_kernels.matmul.tensor_cores import LARGEST, STAGES, STEP

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
PAPER, OF_A, OF_B, OF_C, HIDDEN, CUT, SEEN = "#f4f4f4", "#f0a860", "#70a868", "#205080", "#e8e8e8", "#f0a860", "#50a0d0"
WARP = (64, 32)  # rows and columns of a tile that a warp has


def box(
    axes: Any, x: float, y: float, wide: float, high: float, colour: str, text: str = "", size: int = 9, **style: Any
) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), wide, high, facecolor=colour, **({"edgecolor": "white", "linewidth": 1} | style)))
    if text:
        shade = "white" if colour == OF_C else "black"
        axes.text(x + wide / 2, y + high / 2, text, ha="center", va="center", fontsize=size, color=shade)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str = "black") -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2})


def panel(axes: Any, title: str, wide: float, high: float) -> None:
    """An empty place whose rows go downwards, as those of a matrix."""
    axes.set(xlim=(-0.02 * wide, 1.02 * wide), ylim=(1.02 * high, -0.02 * high), aspect="equal")
    axes.set_title(title, fontsize=10)
    axes.axis("off")


def matmul(figure: Any) -> None:
    """Grid, block and warp of the tensor-core kernel."""
    grid, block, warp = figure.subplots(1, 3, width_ratios=(1.25, 1.35, 0.9))
    panel(grid, "the grid: a block has a tile of $y$", 9, 9)
    for row in range(4):
        for column in range(4):
            box(grid, 4 + 1.2 * column, 4 + 1.2 * row, 1.2, 1.2, OF_C if (row, column) == (1, 2) else PAPER)
    box(grid, 0, 4, 3.6, 4.8, PAPER)
    box(grid, 0, 5.2, 3.6, 1.2, OF_A, "K →")
    box(grid, 4, 0, 4.8, 3.6, PAPER)
    box(grid, 6.4, 0, 1.2, 3.6, OF_B, "K ↓")
    for x, y, name in ((1.8, 4.5, "$x$"), (4.6, 1.8, "$w$"), (4.6, 8.2, "$y$")):
        grid.text(x, y, name, ha="center", va="center", fontsize=12)

    stages = STAGES["bfloat16"]
    panel(block, f"a block: {LARGEST} × {LARGEST}, a ring of {stages} stages", 9, 9)
    for i in range(stages):
        shade = {"alpha": 1 - 0.28 * i}
        box(block, 0.2 + 1.05 * i, 4, 0.95, 4.8, OF_A, str(STEP), **shade)
        box(block, 4, 0.2 + 1.05 * i, 4.8, 0.95, OF_B, str(STEP), **shade)
    block.text(0.2, 3.6, "multiplied, and on their way", fontsize=8)
    rows, columns = LARGEST // WARP[0], LARGEST // WARP[1]
    for row in range(rows):
        for column in range(columns):
            text = f"warp {row * columns + column}"
            box(block, 4 + 4.8 / columns * column, 4 + 4.8 / rows * row, 4.8 / columns, 4.8 / rows, OF_C, text)

    panel(warp, f"a warp: {WARP[0]} × {WARP[1]} in registers", 5.2, 9)
    for row in range(WARP[0] // 16):
        for column in range(WARP[1] // 8):
            box(warp, 1.2 + column, 4 + 1.2 * row, 1, 1.2, OF_C, "16 × 8" if row == column == 0 else "", 7)
        box(warp, 0.1, 4 + 1.2 * row, 1, 1.2, OF_A, "16 × 16" if row == 0 else "", 7)
    for column in range(WARP[1] // 8):
        box(warp, 1.2 + column, 2.7, 1, 1.2, OF_B, "16 × 8" if column == 0 else "", 7)
    warp.text(1.2, 2.4, "an mma: 16 × 16 by 16 × 8,\nboth from shared memory by ldmatrix", fontsize=8)


def attention(figure: Any, tiles: int = 6) -> None:
    """Which tiles of the scores are read, and how the three kernels walk over them; four keys more than queries."""
    titles = (
        "forward: $Q$, $m$, $z$, $a$ stay; $K$, $V$ pass",
        "backward, keys: $K$, $V$, $dK$, $dV$ stay; $Q$, $dO$ pass",
        "backward, queries: $Q$, $dO$, $dQ$ stay; $K$, $V$ pass",
    )
    for axes, title, by_keys in zip(figure.subplots(1, 3), titles, (False, True, False), strict=True):
        panel(axes, title, tiles + 1.6, tiles + 1.2)
        for row in range(tiles):
            for column in range(tiles + 1):
                seen = SEEN if column <= row else CUT if column == row + 1 else HIDDEN
                box(axes, 0.6 + column, 0.6 + row, 1, 1, seen)
        axes.text(0.3, 0.6 + tiles / 2, "queries ↓", rotation=90, ha="center", va="center", fontsize=9)
        axes.text(0.6 + tiles / 2, 0.3, "keys →", ha="center", va="center", fontsize=9)
        of_block = {"facecolor": "none", "edgecolor": "black", "linewidth": 2}
        if by_keys:
            axes.add_patch(_outline(2.6, 0.6, 1, tiles, of_block))
            arrow(axes, (3.1, 1.7), (3.1, tiles + 0.5))
        else:
            axes.add_patch(_outline(0.6, 3.6, tiles + 1, 1, of_block))
            arrow(axes, (0.7, 4.1), (5.5, 4.1))
    names = {SEEN: "all scores are seen: no mask is asked", CUT: "cut by the diagonal", HIDDEN: "never read"}
    patches = [_outline(0, 0, 1, 1, {"facecolor": colour}) for colour in names]
    figure.legend(patches, names.values(), loc="outside lower center", ncols=3, fontsize=9)


def _outline(x: float, y: float, wide: float, high: float, style: dict[str, Any]) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), wide, high, **style)


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    for draw, size in ((matmul, (11, 4.2)), (attention, (11, 4.2))):
        figure = plt.figure(figsize=size, layout="constrained")
        draw(figure)
        path = FIGURES / f"{draw.__name__}-tiles.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        print(path)


if __name__ == "__main__":
    main()
