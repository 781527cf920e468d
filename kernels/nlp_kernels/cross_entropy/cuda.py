"""Cross-entropy on NVIDIA GPUs: which kernel of cuda.cu has which rows. README.md."""

import numpy as np

from nlp_kernels.common import check
from nlp_kernels.common.cuda import Source, address, arithmetic, check_launch, empty, serves
from nlp_kernels.common.gpu import blocks, clusters
from nlp_kernels.common.rows import HELD, LARGEST_BLOCK
from nlp_kernels.errors import DtypeError

# Threads that have a row together, the shortest rows first: forward, up to so many bytes of it; forward_backward, up to
# so many bytes of registers each, and for longer rows without clusters, and with them.
ROUND, KEPT, LONG = ((32, 4 << 10), (128, 16 << 10), (512, 128 << 10), (4096, np.inf)), HELD[1], (512, 4096)
TILE = 32 * 64  # bytes, in registers, that a warp has of a row in backward

KERNELS = {
    **{f"cross_entropy_forward<T, {group}>": group for group, _ in ROUND},
    **{f"cross_entropy_backward<T, {width}>": 32 for width in ("1", "16 / sizeof(T)")},
    **{f"cross_entropy_forward_backward<T, {group}, {held} / sizeof(arithmetic<T>)>": group for group, held in KEPT},
    **{f"cross_entropy_forward_backward_long<T, {group}>": group for group in LONG},
}
SOURCE = Source(
    __file__,
    *(kernel for kernel, group in KERNELS.items() if group <= LARGEST_BLOCK),
    clusters=tuple(kernel for kernel, group in KERNELS.items() if group > LARGEST_BLOCK),
)


def supports(x, target, **hyper):
    return serves(x) and x.shape[1] <= 2**30


def forward(x, target, *, ignore_index=-100, label_smoothing=0.0):
    N, C = x.shape
    T, largest = arithmetic(x.dtype), 4096 if clusters(x) else LARGEST_BLOCK
    loss, m, log_z = empty(x, (N,), T), empty(x, (N, 1), T), empty(x, (N, 1), T)
    group = next(group for group, most in ROUND if C * x.itemsize <= most or group == largest)
    arrays = {"loss": loss, "m": m, "log_z": log_z, "x": x, "target": target}
    _launch("forward", f"cross_entropy_forward<T, {group}>", arrays, ignore_index, label_smoothing)
    return loss, (m, log_z)


def backward(dloss, x, target, saved=None, *, ignore_index=-100, label_smoothing=0.0, out=None):
    m, log_z, *_ = saved or forward(x, target, ignore_index=ignore_index)[1]
    dx = _written(out, x, target, dloss, m, log_z)
    arrays = {"dx": dx, "x": x, "target": target, "dloss": dloss, "m": m, "log_z": log_z}
    tiles = -(-x.shape[1] * arithmetic(x.dtype).itemsize // TILE)
    kernel = f"cross_entropy_backward<T, {'16 / sizeof(T)' if _alike(dx, x) else '1'}>"
    _launch("backward", kernel, arrays, ignore_index, label_smoothing, np.int32(tiles), tasks=len(x) * tiles)
    return (dx,)


def forward_backward(x, target, dloss, *, ignore_index=-100, label_smoothing=0.0, out=None):
    hyper = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    dx = _written(out, x, target, dloss)
    if not _alike(dx, x):
        loss, saved = forward(x, target, **hyper)
        return loss, *backward(dloss, x, target, saved, **hyper, out=dx)
    T, together = arithmetic(x.dtype), clusters(x)
    for group, held in KEPT:
        if group * held >= x.shape[1] * T.itemsize and (together or group <= LARGEST_BLOCK):
            kernel = f"cross_entropy_forward_backward<T, {group}, {held} / sizeof(arithmetic<T>)>"
            break
    else:
        kernel = f"cross_entropy_forward_backward_long<T, {LONG[together]}>"
    loss = empty(x, x.shape[:1], T)
    arrays = {"loss": loss, "dx": dx, "x": x, "target": target, "dloss": dloss}
    _launch("forward_backward", kernel, arrays, **hyper)
    return loss, dx


def _written(out, x, *read):
    """`out` where a kernel may write while it reads: it is x, or apart from all that is read; else a fresh array."""
    if out is None or not out.flags.c_contiguous or (address(out) != address(x) and _overlap(out, x)):
        return empty(x, x.shape)
    return empty(x, x.shape) if any(_overlap(out, a) for a in read) else out


def _overlap(a, b):
    return address(a) < address(b) + b.nbytes and address(b) < address(a) + a.nbytes


def _alike(a, b):
    """Whether vectors of 16 bytes start at the same places of two arrays."""
    return address(a) % 16 == address(b) % 16


def _launch(function, kernel, arrays, ignore_index, label_smoothing, *more, tasks=None):
    x, target = arrays["x"], arrays["target"]
    N, C = x.shape
    _check(f"cross_entropy.{function}", N, **arrays)
    if N == 0:
        return
    group, T = KERNELS[kernel], arithmetic(x.dtype).type
    threads, cluster = min(max(group, 128), LARGEST_BLOCK), max(group // LARGEST_BLOCK, 1)
    resident = 1 if "long" in kernel else 2048 // threads  # what a block reads twice is still in the second-level cache
    grid = blocks(x, -(-(tasks or N) * group // threads), resident)
    truth = np.bool_(target.dtype.itemsize == 8), np.int64(ignore_index), T(1 - label_smoothing), T(label_smoothing / C)
    arguments = (*arrays.values(), np.int64(N), np.int32(C), *truth, *more)
    SOURCE.kernel(kernel, x)((-(-grid // cluster) * cluster,), (threads,), arguments)


def _check(function, N, x, target, **others):
    """What the caller's own arrays may have wrong: those in `saved`, or all where this module is called."""
    check_launch(function, computed=("loss", "dloss", "m", "log_z"), x=x, target=target, **others)
    if target.dtype not in (np.int32, np.int64):
        raise DtypeError(f"{function}: target is {target.dtype}, expected int32 or int64")
    for name, shape in {"target": (N,), "dloss": (N,), "m": (N, 1), "log_z": (N, 1), "dx": x.shape}.items():
        if (a := {"target": target, **others}.get(name)) is not None:
            check.shape(function, name, a, shape)
