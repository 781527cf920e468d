"""What bfloat16 costs in quality: the losses of one GPT in float32, in bfloat16, and in bfloat16 without masters.

python -m benchmarks.mixed_precision                writes docs/figures/mixed-precision.png; minutes on one core
python -m benchmarks.mixed_precision --quick        five steps of a tiny model, nothing is written
"""

from __future__ import annotations

import argparse
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinygrad_nlp as tn
from benchmarks.figures import saved
from benchmarks.readme import FIGURES
from benchmarks.tables import markdown
from tinygrad_nlp.models import find
from tinygrad_nlp.optim.optimizer import MASTER
from tinygrad_nlp.train.loop import training_steps

TINY = {"n_layer": 1, "n_embd": 16, "n_head": 2, "block_size": 16}
CURVES = {"float32": "#205080", "bf16": "#f0a860", "bf16 without masters": "#b04040"}
WARMED = 50  # steps after which differences count


def losses(name: str, model: dict[str, Any], settings: dict[str, Any]) -> tuple[np.ndarray, float]:
    """The loss of every step, and that over the validation part at the end, in nats per character."""
    model_class, config_class, run_class = find("gpt")
    chosen = run_class.settings_class(**settings, dtype=name.split()[0])
    run = run_class("gpt", model_class, config_class, model, chosen)
    steps = training_steps(
        run.model, run.optimizer, run.batch_loss, run.schedule, first=1, last=chosen.steps, clip=chosen.clip
    )
    found = []
    for step in steps:
        found.append(step.loss)
        if name.endswith("without masters"):
            for p, state in run.optimizer.state.items():
                state[MASTER][...] = p.data
    return np.array(found), run.evaluate()


def drawn(curves: dict[str, np.ndarray]) -> Any:
    """The losses over the steps, and below how far each is from float32's."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(7, 5.5), height_ratios=(3, 2), sharex=True, layout="constrained"
    )
    steps = np.arange(1, len(curves["float32"]) + 1)
    for name, values in curves.items():
        above.plot(steps, values, color=CURVES[name], linewidth=1, label=name)
        if name != "float32":
            below.plot(steps, values - curves["float32"], color=CURVES[name], linewidth=1)
    below.axhline(0, color="black", linewidth=0.5)
    above.set_ylabel("loss of a batch, nats per character")
    below.set(xlabel="step", ylabel="less float32's")
    above.legend()
    for axis in (above, below):
        axis.grid(alpha=0.3)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixed_precision", description=__doc__)
    parser.add_argument("--data", default="gutenberg", help="a corpus or a text (default gutenberg)")
    parser.add_argument("--steps", type=int, default=300, help="(default 300)")
    parser.add_argument("--seed", type=int, default=1337, help="(default 1337)")
    parser.add_argument("--threads", type=int, default=1, help="(default 1)")
    parser.add_argument("--quick", action="store_true", help="five steps of a tiny model, nothing is written")
    args = parser.parse_args()
    tn.set_num_threads(args.threads)
    steps = 5 if args.quick else args.steps
    settings = {"data": args.data, "steps": steps, "warmup": min(100, steps), "seed": args.seed}
    found = {name: losses(name, TINY if args.quick else {}, settings) for name in CURVES}
    (exact, _), after = found["float32"], min(WARMED, steps - 1)
    rows = [("", "last 50 steps", "validation", f"largest difference after step {after}")]
    for name, (curve, validation) in found.items():
        far = f"{np.abs(curve - exact)[after:].max():.4f}" if curve is not exact else ""
        rows.append((name, f"{curve[-50:].mean():.4f}", f"{validation:.4f}", far))
    print("\n".join(markdown(rows)))
    if not args.quick:
        print(saved(drawn({name: curve for name, (curve, _) in found.items()}), FIGURES / "mixed-precision.png"))


if __name__ == "__main__":
    main()
