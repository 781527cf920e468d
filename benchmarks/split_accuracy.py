"""The error of float32 products on tensor cores against that on CUDA cores: `python -m benchmarks.split_accuracy`.

Both kernels run in the simulator, one block for all of K. A GPU's tensor cores cut off the bits of a sum that its 24
have no room for, the simulator's round; a model in NumPy cuts, once as tensor_cores.cu adds and once with the six
products added up to the end on the tensor cores.
"""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from nlp_kernels.matmul import cuda, tensor_cores
from nlp_kernels.simulator import simulate

TILE, INNER = 64, (33, 512, 2048)
PAIRS = ((0, 2), (1, 1), (2, 0), (0, 1), (1, 0), (0, 0))  # planes of a and b, small products first
HEADING = """| numbers | K | CUDA cores | tensor cores | model of a GPU's | model, sums kept there |
|---|---:|---:|---:|---:|---:|"""


def planes(x: np.ndarray) -> list[np.ndarray]:
    """x = hi + mid + lo, each the nearest bfloat16 to the rest, as float64."""
    found, rest = [], x
    for _ in range(3):
        bits = rest.view(np.uint32)
        nearest = ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
        found.append(nearest.astype(np.float64))
        rest = rest - nearest
    return found


def cut(x: np.ndarray) -> np.ndarray:
    """float64 toward zero to the 24 bits of a float32."""
    return (np.ascontiguousarray(x).view(np.int64) & -(1 << 29)).view(np.float64)


def modelled(a: np.ndarray, b: np.ndarray, *, kept: bool) -> np.ndarray:
    """The six products 16 of K at a time; kept: in one sum that is cut, else each 16 in their own, which is added."""
    A, B = planes(a), planes(b)
    steps = [slice(k, k + 16) for k in range(0, a.shape[1], 16)]
    total = np.zeros((len(a), b.shape[1]))
    if kept:
        for p, q in PAIRS:
            for k in steps:
                total = cut(total + A[p][:, k] @ B[q][k])
        return total
    for k in steps:
        own = np.zeros_like(total)
        for p, q in PAIRS:
            own = cut(own + A[p][:, k] @ B[q][k])
        total = (total + own).astype(np.float32).astype(np.float64)
    return total


def errors(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Root mean square errors relative to the products': of both kernels, and of the models."""
    whole = cuda.Plan(TILE, 1, -(-a.shape[1] // tensor_cores.STEP) * tensor_cores.STEP)
    with simulate(), patch.object(cuda, "plan", lambda *sizes: whole):
        cores = cuda.product(a, b)
        with patch.object(tensor_cores, "plan", lambda *sizes: whole):
            ours = tensor_cores.product(a, b)
    right = a.astype(np.float64) @ b.astype(np.float64)
    models = (modelled(a, b, kept=kept) for kept in (False, True))
    return [float(np.sqrt(np.mean((y - right) ** 2) / np.mean(right**2))) for y in (cores, ours, *models)]


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    print(HEADING)
    for name, draw in (("normal", rng.standard_normal), ("between 0 and 1", rng.random)):
        for K in INNER:
            a, b = draw((TILE, K)).astype(np.float32), draw((K, TILE)).astype(np.float32)
            print(f"| {name} | {K} | " + " | ".join(f"{error:.1e}" for error in errors(a, b)) + " |", flush=True)


if __name__ == "__main__":
    main()
