"""The figure of docs/gradient-checking.md: the error of four numerical derivatives over the step size.

python docs/figures/oracles.py               writes docs/figures/oracles.png
"""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

X = 0.7


def f(x):
    """A smooth function with a derivative known by hand: tanh(x)² + sin x."""
    return np.tanh(x) ** 2 + np.sin(x)


def exact(x):
    return 2 * np.tanh(x) * (1 - np.tanh(x) ** 2) + np.cos(x)


def forward(x, h):
    return (f(x + h) - f(x)) / h


def central(x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def richardson(x, h):
    return (4 * central(x, h / 2) - central(x, h)) / 3


def complex_step(x, h):
    return f(x + 1j * h).imag / h


def main() -> None:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="constrained")
    for ax, dtype in zip(axes, (np.float64, np.float32), strict=True):
        steps = np.logspace(-16 if dtype == np.float64 else -8, 0, 200)
        oracles = {
            "forward: error h": forward,
            "central: h²": central,
            "central, Richardson: h⁴": richardson,
            "complex step: h², nothing cancels": complex_step,
        }
        for (name, oracle), style in zip(oracles.items(), ("-", "-", "-", "--"), strict=True):
            x = dtype(X)
            values = np.array([float(np.real(oracle(x, dtype(h)))) for h in steps])
            error = np.abs(values - exact(np.longdouble(X))) / abs(exact(X))
            ax.loglog(steps, np.maximum(error, 1e-17), style, label=name, linewidth=1.2)
        eps = np.finfo(dtype).eps
        ax.axvline(np.cbrt(eps), color="grey", linewidth=0.8, linestyle=":")
        ax.text(np.cbrt(eps) * 1.2, 3e-17, "∛ε", color="grey")
        ax.axhline(eps, color="grey", linewidth=0.8, linestyle=":")
        ax.set(xlabel="step h", title=f"{np.dtype(dtype).name}, ε = {eps:.1e}")
    axes[0].set_ylabel("relative error of the derivative")
    axes[1].legend(loc="lower left", fontsize=9)
    path = Path(__file__).with_suffix(".png")
    figure.savefig(path, dpi=110)
    print("saved:", path)


if __name__ == "__main__":
    main()
