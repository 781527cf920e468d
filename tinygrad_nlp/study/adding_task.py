"""The adding problem: two marked numbers, one in each half of a long sequence, and what a cell makes of them.

    x_t = (v_t, m_t), v_t ~ U[0, 1), m_t = 1 at one step i < T/2 and one step j >= T/2, else 0
    y = v_i + v_j
    ŷ = w · h_T + b, h_t = cell(x_t, h_(t-1))            (E17, E24, E25, E28 many to one)
    L = (1/B) Σ (ŷ - y)²                                 (E06c)

Who always says 1, the mean of y, has the error Var(y) = 2 · 1/12 = 1/6; who does better has carried a number through
the steps. (Hochreiter and Schmidhuber 1997, in the form of Le, Jaitly and Hinton 2015.)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, nn, optim
from tinygrad_nlp.random import Generator
from tinygrad_nlp.train.loop import DivergedError, training_steps
from tinygrad_nlp.train.options import Options, option

CELLS = {"rnn": "RNN", "irnn": "IRNN", "gru": "GRU", "lstm": "LSTM"}
DTYPES = {"rnn": "float64"}  # a gradient below 1e-38 is subnormal in float32, and a CPU adds it up ten times as slowly
CONSTANT = 1 / 6  # the error of always guessing 1
TESTS, AT_ONCE, TIMES = 1000, 100, 30  # held-out sequences, how many are read together, how often in a run
WEIGHT_STREAM, TEST_STREAM, BATCH_STREAM = 0, 2**62, 2**63  # places in the seed's stream: nothing draws twice


@dataclass(frozen=True)
class Training(Options):
    """How each cell is trained."""

    steps: int = option(3000, "training steps of each cell", low=1)
    hidden: int = option(100, "units", low=1)
    batch_size: int = option(32, "new sequences a step", low=1)
    lr: float | None = option(
        None,
        "learning rate of Adam (default: RNN 0.001, IRNN 0.04 / T, GRU and LSTM 0.01)",
        kind=float,
        low=1e-9,
    )
    clip: float = option(1.0, "the norm that a gradient is clipped to (E22), 0: none", low=0)
    input_std: float = option(0.01, "standard deviation of IRNN's first input weights", low=0)
    forget_bias: float = option(1.0, "of an LSTM's forget gate at first (E25)")
    seed: int = option(0, "of weights, batches and test", low=0, high=2**64 - 1)

    def rate(self, cell: str, T: int) -> float:
        """The learning rate: what a change ε of I does in T steps is (1 + ε)^T, so IRNN's falls with T."""
        return self.lr or {"rnn": 0.001, "irnn": 0.04 / T}.get(cell, 0.01)


@dataclass
class Curve:
    """The test error of one cell at one length, over its training."""

    cell: str
    T: int
    lr: float
    steps: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)  # mean squared, of the held-out sequences
    seconds: float = 0.0
    broke_off: int | None = None  # at this step loss or gradient were not finite

    def below(self, share: float) -> int | None:
        """The first tested step with an error under this share of 1/6, if there is one."""
        return next((s for s, error in zip(self.steps, self.errors, strict=True) if error < share * CONSTANT), None)


class Adder(nn.Module):
    """ŷ = w · h_T + b.  (T, B, 2) -> (B, 1)

    Biases begin at 0 but for an LSTM's forget bias, weights as U(-1/√H, 1/√H); IRNN (E23), a ReLU layer, begins with
    W_hh = I and W_xh ~ N(0, input_std²).
    """

    def __init__(self, cell: str, training: Training, generator: Generator):
        super().__init__()
        hidden = training.hidden
        layers = {"rnn": nn.RNN, "irnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
        self.layer: Any = layers[cell](2, hidden, **({"nonlinearity": "relu"} if cell == "irnn" else {}))
        self.readout = nn.Linear(hidden, 1)
        for p in self.parameters():
            if p.ndim == 1:
                nn.init.zeros_(p)
            else:
                nn.init.uniform_(p, -(hidden**-0.5), hidden**-0.5, generator=generator)
        if cell == "irnn":
            nn.init.eye_(self.layer.weight_hh_l0)
            nn.init.normal_(self.layer.weight_ih_l0, std=training.input_std, generator=generator)
        if cell == "lstm":
            self.layer.bias_ih_l0.data[hidden : 2 * hidden] = training.forget_bias

    def forward(self, x: Any) -> Tensor:
        """The sum that was read.  (T, B, 2) -> (B, 1)"""
        _, state = self.layer(x)
        return self.readout((state[0] if isinstance(state, tuple) else state)[0])


def sequences(generator: Generator, T: int, B: int) -> tuple[np.ndarray, np.ndarray]:
    """Random sequences and their sums: x (T, B, 2), y (B, 1); each half has one marker.  T is at least 2."""
    x, b = np.zeros((T, B, 2), np.float32), np.arange(B)
    x[:, :, 0] = generator.uniform((T, B))
    i, j = generator.integers(0, T // 2, B), generator.integers(T // 2, T, B)
    x[i, b, 1] = x[j, b, 1] = 1
    return x, (x[i, b, 0] + x[j, b, 0])[:, None]


def held_out(seed: int, T: int) -> tuple[np.ndarray, np.ndarray]:
    """The test of a seed: the same sequences for every cell, none of them trained on.  (T, N, 2), (N, 1)"""
    return sequences(stream(seed, TEST_STREAM), T, TESTS)


def stream(seed: int, start: int) -> Generator:
    """The seed's random numbers from a place on."""
    generator = Generator(seed)
    generator.state = seed, start
    return generator


def error_of(model: Adder, x: np.ndarray, y: np.ndarray) -> float:
    """(1/N) Σ (ŷ - y)², in float64, a part of the sequences after another.  (T, N, 2), (N, 1) -> ()"""
    with tn.no_grad(), np.errstate(over="ignore", invalid="ignore"):
        parts = [model(like(model, x[:, n : n + AT_ONCE])) for n in range(0, len(y), AT_ONCE)]
        said = np.concatenate([np.asarray(part.to("cpu").data, np.float64) for part in parts])
        return float(((said - y) ** 2).mean())


def like(model: Adder, array: np.ndarray) -> Tensor:
    """The array where the model's weights are, of their dtype."""
    weight = model.readout.weight
    return Tensor(array).to(weight.device, weight.dtype)


def learn(curve: Curve, training: Training, device: str = "cpu") -> Iterator[int]:
    """Train the curve's cell by Adam and test it TIMES times on the way; yields the number of each step.

    A loss or gradient that is not finite ends the run and is noted in the curve.
    """
    T, B, seed = curve.T, training.batch_size, training.seed
    model = Adder(curve.cell, training, stream(seed, WEIGHT_STREAM)).to(device, DTYPES.get(curve.cell))
    optimizer = optim.Adam(model.parameters(), lr=curve.lr)
    batches, test = stream(seed, BATCH_STREAM), held_out(seed, T)

    def batch_loss() -> Tensor:
        x, y = (like(model, a) for a in sequences(batches, T, B))
        return nn.functional.mse_loss(model(x), y)

    def measure(step: int) -> None:
        curve.steps.append(step)
        curve.errors.append(error_of(model, *test))

    began, every = time.perf_counter(), max(1, training.steps // TIMES)
    measure(0)
    steps = training_steps(
        model, optimizer, batch_loss, lambda step: curve.lr, first=1, last=training.steps, clip=training.clip
    )
    try:
        for step in steps:
            if step.number % every == 0 or step.number == training.steps:
                measure(step.number)
            curve.seconds = time.perf_counter() - began
            yield step.number
    except DivergedError as error:
        curve.broke_off = error.step
