"""Bugs planted in the real kernels of cross-entropy: the simulator names each of them, or the numbers are wrong."""

import numpy as np
import pytest
from nlp_kernels import cross_entropy
from nlp_kernels.cross_entropy.cuda import SOURCE
from nlp_kernels.simulator import RawModule, SimulatorError, simulate, translate
from simulated import needs_simulator

pytestmark = needs_simulator()
FORWARD, BACKWARD = "cross_entropy_forward<float, 32>", "cross_entropy_backward<float, 4>"
BOTH, CLUSTER = (f"cross_entropy_forward_backward<float, {group}, 16>" for group in (128, 1024))
LONG = "cross_entropy_forward_backward_long<float, 512>"
WRONG_NUMBERS = "Not equal to tolerance"
LOGIT = "const T x_y = target_logit<T, GROUP>(x + n * C, truth.y);\n"

# name: (kernel, rows, columns, what is right, what is planted, the message)
PLANTED = {
    "a wrong target is looked up": (
        *(FORWARD, 4, 9, "0 <= i && i < C ?", "true ?"),
        r"(out of bounds|bad pointer): .* at cross_entropy/cuda.cu:\d+",
    ),
    "an ignored target is looked up": (
        *(BOTH, 4, 9, "return y >= 0 && group_thread", "return y != -2 && group_thread"),
        r"(out of bounds|bad pointer): .* at cross_entropy/cuda.cu:\d+",
    ),
    "targets of 32 bits are read as 64": (
        *(FORWARD, 4, 9, "of_64_bits ?", "true ?"),
        r"out of bounds: .* reads .*target\[\d+\] at cross_entropy/cuda.cu:\d+, but target has",
    ),
    "a vector past the row": (
        *(FORWARD, 1, 9, "k < whole) f(i, k)", "k <= whole) f(i, k)"),
        r"out of bounds: .* reads .*x\[\d+\] at common/tiles.cuh:\d+, but x has 9 elements",
    ),
    "an edge past the row": (
        *(BACKWARD, 1, 9, "t >= edges ? -1", "t > edges ? -1"),
        r"out of bounds: .* reads x\[9\] at common/tiles.cuh:\d+, but x has 9 elements",
    ),
    "vectors that start as far after 16 bytes as the row": (
        *(BACKWARD, 3, 9, "WIDTH - past < C ? WIDTH - past : C", "past < C ? past : C"),
        r"misaligned: .* the address of x\[\d+\] as 'const struct Vector",
    ),
    "every block of a cluster writes the loss": (
        *(CLUSTER, 1, 50, "if (group_thread<GROUP>() == 0) loss", "if (threadIdx.x == 0) loss"),
        r"race: .* writes loss\[0\] at cross_entropy/cuda.cu:\d+, which .* wrote",
    ),
    "threads that leave before the sum": (
        *(FORWARD, 3, 9, LOGIT + "    const Row", LOGIT + "    if (group_thread<GROUP>() != 0) return;\n    const Row"),
        r"(divergent warp: .*)?__shfl_xor_sync at common/rows.cuh:\d+(: the mask .* has returned)?",
    ),
    "two warps write one tile": (
        *(BACKWARD, 3, 600, "static_cast<int>(task - n * tiles)", "0"),
        r"race: .* writes dx\[\d+\] at common/tiles.cuh:\d+, which .* wrote",
    ),
    "the target's logit is read when dx may have its place": (
        *(BOTH + " in place", 3, 700, "loss[n] = row.loss(x_y,", "loss[n] = row.loss(x[n * C + truth.y],"),
        r"race: .* (reads|writes) dx=x\[\d+\] at .*, which .* (wrote|read) at .*, and no barrier",
    ),
    "what was summed keeps its old scale": (
        *(FORWARD, 3, 1100, "own.relative_to(top, T(1)) + z", "own.z + z"),
        WRONG_NUMBERS,
    ),
    "so does the smoothing's sum": (*(FORWARD, 3, 1100, "sum += count * (before - m);", ""), WRONG_NUMBERS),
    "the threads' sums of it are relative to their own maxima": (
        *(BOTH, 3, 700, "sum + count * (finite_or_zero(own.m) - row.m)", "sum"),
        WRONG_NUMBERS,
    ),
    "no smoothing at the target": (*(BOTH, 3, 70, "right + share : share", "right : share"), WRONG_NUMBERS),
    "the last tile of a row is left out": (
        *(LONG, 2, 9000, "while (tile.first < tile.whole)", "while (tile.first + Tile::vectors < tile.whole)"),
        WRONG_NUMBERS,
    ),
    "x - (m + log z)": (
        *(BACKWARD, 3, 65, "exp((v[i] - row.m) - row.log_z)", "exp(v[i] - (row.m + row.log_z))"),
        WRONG_NUMBERS,
    ),
}


def launch(code, name, N, C, order):
    """Compare a launch's rows with the reference's; of four, the first is ignored, the second's target is wrong."""
    name, _, in_place = name.partition(" in ")
    kernel = RawModule(code=code, name_expressions=(name,)).get_function(name)
    rng = np.random.default_rng(0)
    x, dloss = (np.sort(3 * rng.normal(size=(N, C))) - 10_000).astype(np.float32), rng.normal(size=N).astype(np.float32)
    target = rng.integers(0, C, N).astype(np.int32)
    if N == 4:
        target[:2] = -100, 2**20
    first, hyper = 2 * (N == 4), {"label_smoothing": 0.1}
    rows = x[first:].astype(float), target[first:]
    expected, saved = cross_entropy.reference.forward(*rows, **hyper)
    (right,) = cross_entropy.reference.backward(dloss[first:], *rows, saved, **hyper)
    loss, m, log_z = np.full((3, N), np.nan, np.float32)
    m[first:], log_z[first:] = saved[0][:, 0], saved[1][:, 0]
    dx = x if in_place else np.full_like(x, np.nan)
    sizes = np.int64(N), np.int32(C), np.bool_(False), np.int64(-100), np.float32(0.9), np.float32(0.1 / C)
    arrays = {FORWARD: (loss, m, log_z, x, target), BACKWARD: (dx, x, target, dloss, m, log_z)}
    more = (np.int32(-(-C // 512)),) if name == BACKWARD else ()
    grid, threads = {CLUSTER: (2, 512), LONG: (1, 512)}.get(name, (1, 128))
    with simulate(order):
        kernel((grid,), (threads,), (*arrays.get(name, (loss, dx, x, target, dloss)), *sizes, *more))
    if name != BACKWARD:
        np.testing.assert_allclose(loss[first:], expected, rtol=1e-5)
    if name != FORWARD:
        np.testing.assert_allclose(dx[first:], right, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_caught(name):
    kernel, N, C, right, wrong, message = PLANTED[name]
    code = translate.flatten(SOURCE.code, [])
    assert right in code
    launch(code, kernel, N, C, "random:1")
    for order in ("forward", "random:1"):
        with pytest.raises((SimulatorError, AssertionError), match=message):
            launch(code.replace(right, wrong), kernel, N, C, order)
