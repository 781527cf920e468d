"""`tinygrad-nlp study gradient-flow`: how much of a gradient is left many steps back (E20 – E23)."""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import UserError
from rich.console import Console
from rich.table import Table

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, nn, optim
from tinygrad_nlp.command_line import Parser, me
from tinygrad_nlp.random import Generator
from tinygrad_nlp.study.flow_pictures import clipping_picture, flow_picture
from tinygrad_nlp.train.run_folder import RunFolder

KINDS = ("RNN", "IRNN", "GRU", "LSTM")
RADII = (0.5, 0.9, 1.1, 1.5)
EXPLODING, RATE, CLIP = 1.8, 3e-3, 1.0  # spectral radius, learning rate, clipping of the run that explodes
EPILOG = """examples:
  {me} study gradient-flow
  {me} study gradient-flow --steps-back 300 --radius 0.99 --radius 1.01 --out flow

Nothing is trained for the first picture: it takes seconds. The second one is a run that explodes, and the same run
with the gradient clipped."""


@dataclass(frozen=True)
class Flow:
    """The norms of ∂L_T/∂h_t for t = 0 … T, that of t = T being 1."""

    kind: str
    radius: float  # largest |eigenvalue| of each recurrent matrix
    spectral_norm: float  # ‖W_hh‖₂
    norms: np.ndarray  # (T + 1,)
    bound: np.ndarray | None  # (‖W_hh‖₂ max|g'|)^(T-t), E21, of the layers without gates

    @property
    def factor(self) -> float:
        """The mean factor from a step to the step before."""
        return float(self.norms[0] ** (1 / (len(self.norms) - 1)))


def measure(kind: str, radius: float, *, steps: int, hidden: int, seed: int) -> Flow:
    """‖∂L_T/∂h_t‖, L_T = <g, h_T> for a random g, by the tape through the unrolled cell; float64.

    Of an LSTM it is the norm by the pair (h_t, c_t). Inputs are N(0, 1); the recurrent matrices are normal numbers
    scaled to the spectral radius, IRNN's is the identity (E23); biases are 0, an LSTM's forget bias is 1.
    """
    generator = Generator(seed)
    cell = _cell(kind, radius, hidden, generator)
    xs = generator.normal((steps, 1, hidden), dtype="float64")
    state: Any = Tensor(np.zeros((1, hidden)), requires_grad=True)
    if kind == "LSTM":
        state = (state, Tensor(np.zeros((1, hidden)), requires_grad=True))
    states = [state]
    for x in xs:
        state = cell(x, states[-1])
        if kind == "LSTM":
            state = (state[0], state[1] * 1.0)  # c as it is carried on, without its way through h, which h counts
        states.append(state)
    pairs = [s if isinstance(s, tuple) else (s,) for s in states]
    g = generator.normal((1, hidden), dtype="float64")
    gradients = tn.grad(tn.sum(pairs[-1][0] * g), [h for pair in pairs for h in pair], allow_unused=True)
    squares = [0.0 if d is None else float((d.data**2).sum()) for d in gradients]
    norms = np.sqrt(np.reshape(squares, (steps + 1, -1)).sum(axis=1))
    blocks = cell.weight_hh.data.reshape(-1, hidden, hidden)
    spectral = max(float(np.linalg.norm(w, 2)) for w in blocks)
    bound = spectral ** np.arange(steps, -1, -1.0) if kind in ("RNN", "IRNN") else None
    return Flow(kind, radius, spectral, norms / norms[-1], bound)


def train_exploding(clip: float | None, *, steps: int, hidden: int, seed: int) -> list[dict[str, float]]:
    """Loss and gradient norm of each step of SGD on a ReLU network of radius EXPLODING, until one is not finite.

    The task, the mean of 30 numbers, is easy: what is hard is the gradient, which grows with every step back.
    """
    generator = Generator(seed)
    layer, readout = nn.RNN(1, hidden, nonlinearity="relu", dtype="float64"), nn.Linear(hidden, 1, dtype="float64")
    nn.init.normal_(readout.weight, 0.0, 0.01, generator=generator)
    layer.weight_ih_l0.data[...] = generator.normal((hidden, 1), dtype="float64")
    layer.weight_hh_l0.data[...] = _of_radius(EXPLODING, hidden, generator)
    parameters = [*layer.parameters(), *readout.parameters()]
    for p in parameters:
        if p.ndim == 1:
            nn.init.zeros_(p)
    optimizer, lines = optim.SGD(parameters, lr=RATE), []
    for _ in range(steps):
        x = generator.uniform((30, 32, 1), 0.0, 1.0, dtype="float64")
        optimizer.zero_grad()
        with np.errstate(all="ignore"):
            _, h = layer(x)
            loss = tn.mean((readout(h[0]) - np.asarray(x).mean(axis=0)) ** 2)
            loss.backward()
            norm = float(nn.utils.clip_grad_norm_(parameters, clip if clip is not None else np.inf))
        if not (np.isfinite(norm) and np.isfinite(loss.item())):
            break
        lines.append({"loss": float(loss.item()), "norm": norm})
        optimizer.step()
    return lines


def main(argv: list[str]) -> int:
    """Measure, draw, and say what came out."""
    args = _arguments(argv)
    folder = RunFolder.create("gradient-flow", args.out)
    shape = {"steps": args.steps_back, "hidden": args.hidden, "seed": args.seed}
    pairs = [(kind, radius) for kind in KINDS for radius in ((1.0,) if kind == "IRNN" else args.radius)]
    flows = [measure(kind, radius, **shape) for kind, radius in pairs]
    free, clipped = (train_exploding(clip, steps=100, hidden=32, seed=args.seed) for clip in (None, CLIP))
    numbers = _numbers(flows, {"free": free, "clipped": clipped}, shape)
    folder.write("gradient-flow.png", flow_picture(flows))
    folder.write("clipping.png", clipping_picture(free, clipped, CLIP))
    folder.write("numbers.json", json.dumps(numbers, indent=1) + "\n")
    if args.quiet:
        print(folder.path)
        return 0
    Console(width=100).print(_table(flows))
    print(f"clipping: without, the run broke off after {len(free)} steps; with it, it made {len(clipped)}")
    print(f"files: {folder.path}: {', '.join(folder.files())}")
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog=f"{me()} study gradient-flow",
        description="How much of a gradient is left many steps back: RNN, IRNN, GRU and LSTM (E20 – E23).",
        epilog=EPILOG.format(me=me()),
    )
    parser.add_argument("--steps-back", type=int, default=100, metavar="T", help="steps of the sequence (default: 100)")
    parser.add_argument("--hidden", type=int, default=64, metavar="H", help="units (default: 64)")
    parser.add_argument(
        "--radius", type=float, action="append", metavar="R", help=f"spectral radius; repeat it (default: {RADII})"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of weights, inputs and cotangent (default: 0)"
    )
    parser.add_argument("--out", metavar="DIR", help="a new folder (default: the next runs/gradient-flow-NNN)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the folder")
    args = parser.parse(argv)
    args.radius = args.radius or RADII
    if args.steps_back < 2 or args.hidden < 1 or min(args.radius) <= 0:
        raise UserError("study gradient-flow: --steps-back is at least 2, --hidden at least 1, --radius above 0")
    return args


def _cell(kind: str, radius: float, hidden: int, generator: Generator) -> Any:
    cells = {"RNN": nn.RNNCell, "IRNN": nn.RNNCell, "GRU": nn.GRUCell, "LSTM": nn.LSTMCell}
    options = {"nonlinearity": "relu"} if kind == "IRNN" else {}
    cell: Any = cells[kind](hidden, hidden, **options, dtype="float64")
    for bias in (cell.bias_ih, cell.bias_hh):
        bias.data[...] = 0
    if kind == "LSTM":
        cell.bias_ih.data[hidden : 2 * hidden] = 1
    gates = cell.weight_hh.shape[0] // hidden
    small = 0.1 * hidden**-0.5  # E23: W_xh is small and random, so that what saturates the units is their own state
    cell.weight_ih.data[...] = small * generator.normal(cell.weight_ih.shape, dtype="float64")
    if kind == "IRNN":
        nn.init.eye_(cell.weight_hh)
    else:
        cell.weight_hh.data[...] = np.concatenate([_of_radius(radius, hidden, generator) for _ in range(gates)])
    return cell


def _of_radius(radius: float, n: int, generator: Generator) -> np.ndarray:
    w = np.asarray(generator.normal((n, n), dtype="float64"))
    return w * (radius / np.abs(np.linalg.eigvals(w)).max())


def _numbers(flows: list[Flow], runs: dict, shape: dict[str, int]) -> dict[str, Any]:
    lines = [
        {
            "kind": f.kind, "radius": f.radius, "spectral_norm": f.spectral_norm, "factor": f.factor,
            "norms": f.norms.tolist(), "bound": None if f.bound is None else f.bound.tolist(),
        }
        for f in flows
    ]  # fmt: skip
    versions = {"python": platform.python_version(), "numpy": np.__version__, "tinygrad-nlp": tn.__version__}
    return {"shape": shape, "flows": lines, "clipping": runs, "versions": versions}


def _table(flows: list[Flow]) -> Table:
    T = len(flows[0].norms) - 1
    table = Table(title=f"‖∂L_T/∂h_t‖, 1 at t = T = {T}")
    for column in ("", "spectral radius", "‖W_hh‖₂", "at t = 0", "mean factor a step"):
        table.add_column(column, justify="right" if column else "left")
    for f in flows:
        table.add_row(f.kind, f"{f.radius:g}", f"{f.spectral_norm:.2f}", f"{f.norms[0]:.2e}", f"{f.factor:.3f}")
    return table
