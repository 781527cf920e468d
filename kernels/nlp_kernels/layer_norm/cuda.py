"""Layer norm with an optional fused residual on NVIDIA GPUs: which kernel of cuda.cu has which rows. README.md."""

from dataclasses import dataclass

import numpy as np

from nlp_kernels.common import check
from nlp_kernels.common.cuda import Source, arithmetic, check_launch, empty, empty_like, serves, width
from nlp_kernels.common.gpu import blocks, clusters
from nlp_kernels.common.rows import Plan, sizes
from nlp_kernels.errors import DtypeError

COLUMNS, ADDERS = 256, 16  # threads of a block of layer_norm_columns, warps of one of layer_norm_column_sums


@dataclass(frozen=True)
class Rows(Plan):
    """A group of threads for each row, and how many threads a processor runs at once: it has registers for those."""

    threads: int = 0  # of float32 or bfloat16; half as many of float64

    def name(self, kernel, *more):
        """The name expression of a kernel's instance."""
        wide = "16 / sizeof(T)" if self.wide else "1"
        items, threads = (f"{n} / sizeof(arithmetic<T>)" for n in (self.held, 4 * self.threads))
        return f"{kernel}<{', '.join(('T', str(self.group), items, threads, *more, wide))}>"

    def teams(self, x):
        """How many blocks, or clusters of them, a grid has that stays until all rows of x are done."""
        (block,) = self.block
        at_once = max(1, 4 * self.threads // arithmetic(x.dtype).itemsize // block)
        needed = -(-len(x) * self.group // (block * self.cluster))
        return blocks(x, needed, at_once / self.cluster)

    def launch(self, kernel, x, *arguments):
        kernel = SOURCE.kernel(kernel, x)
        kernel((self.teams(x) * self.cluster,), self.block, arguments)


def _rows(wide, *plans):
    return tuple(Rows(group, held, wide, threads) for group, held, threads in plans)


# (threads of a group, bytes of registers that each has for a row of an array, threads at once), shortest rows first.
# Backward holds four such arrays. Rows that need accesses of one number are rare, so fewer kernels serve them.
FORWARD = (
    *_rows(False, (32, 32, 1024), (32, 128, 512), (512, 64, 1024)),
    *_rows(True, (32, 32, 1024), (32, 128, 512), (128, 64, 1024), (256, 64, 1024), (512, 64, 1024), (512, 128, 512)),
    *_rows(True, (2048, 64, 1024), (4096, 128, 512)),
)
BACKWARD = (
    *_rows(False, (32, 32, 768), (512, 64, 512)),
    *_rows(True, (32, 32, 768), (32, 96, 384), (128, 64, 512), (256, 64, 512), (512, 64, 512)),
    *_rows(True, (1024, 64, 512), (4096, 64, 512)),
)
LONG_FORWARD, ROW_MEANS = (tuple(Rows(512, held, w, 512) for w in (False, True)) for held in (64, 32))


def _instances():
    """Name expression -> whether blocks share a row."""
    yield from ((p.name("layer_norm_forward", "true"), p.cluster > 1) for p in FORWARD)
    yield from ((p.name("layer_norm_backward"), p.cluster > 1) for p in BACKWARD)
    yield from ((p.name("layer_norm_forward", "false"), False) for p in LONG_FORWARD)
    yield from ((p.name("layer_norm_row_means"), False) for p in ROW_MEANS)
    yield from ((_columns(wide), False) for wide in (False, True))
    yield _column_sums(), False


def _columns(wide):
    return f"layer_norm_columns<T, {COLUMNS}, {'16 / sizeof(T)' if wide else '1'}>"


def _column_sums():
    return f"layer_norm_column_sums<T, {ADDERS}>"


SOURCE = Source(
    __file__,
    *(name for name, shared in _instances() if not shared),
    clusters=tuple(name for name, shared in _instances() if shared),
)


def supports(x, gamma, beta, residual=None, **hyper):
    return serves(x) and x.shape[1] <= 2**30


def forward(x, gamma, beta, residual=None, *, eps=1e-5):
    y, h = empty_like(x), None if residual is None else empty_like(x)
    saved = _forward(y, h, x, gamma, beta, residual, eps)
    return (y if residual is None else (y, h)), saved


def backward(dy, x, gamma, beta, residual=None, saved=None, *, eps=1e-5):
    dy, dh = (dy, None) if residual is None else dy
    mean, rstd = (saved or _forward(None, None, x, gamma, beta, residual, eps))[:2]
    check_launch("layer_norm.backward", x=x, dy=dy, dh=dh, gamma=gamma, residual=residual)
    _check_saved("layer_norm.backward", x, mean=mean, rstd=rstd)
    dx, dgamma, dbeta = empty_like(x), empty_like(gamma), empty_like(gamma)
    rows, sums = _backward(dx, dy, dh, x, gamma, residual, mean, rstd) if x.size else (0, None)
    columns = 2 * x.shape[1]
    if columns:
        kernel = SOURCE.kernel(_column_sums(), x)
        kernel((-(-columns // 32),), (32 * ADDERS,), (dgamma, dbeta, sums, np.int32(rows), sizes(x)[1]))
    return dx, dgamma, dbeta, None if residual is None else dx


def _forward(y, h, x, gamma, beta, residual, eps):
    """The statistics (mean, rstd); y and h where they are wanted."""
    check_launch("layer_norm.forward", x=x, gamma=gamma, beta=beta, residual=residual)
    T = arithmetic(x.dtype)
    mean, rstd = (empty(x, (len(x), 1), T) for _ in range(2))
    if len(x):
        wide, plan = _plan(FORWARD, y, h, x, gamma, beta, residual)
        has, plan = ("true", plan) if plan else ("false", LONG_FORWARD[wide])
        arguments = y, h, mean, rstd, x, gamma, beta, residual, *sizes(x), T.type(eps)
        plan.launch(plan.name("layer_norm_forward", has), x, *arguments)
    return mean, rstd


def _backward(dx, dy, dh, x, gamma, residual, mean, rstd):
    """dx, and `sums` (rows, 2, C), the sum of whose rows are dgamma and dbeta.  -> rows, sums"""
    N, C = x.shape
    T = arithmetic(x.dtype)
    wide, plan = _plan(BACKWARD, dx, dy, dh, x, gamma, residual)
    if plan:
        sums = empty(x, (plan.teams(x), 2, C), T)
        plan.launch(plan.name("layer_norm_backward"), x, dx, sums, dy, dh, x, gamma, residual, mean, rstd, *sizes(x))
        return len(sums), sums
    means, plan = empty(x, (N, 2), T), ROW_MEANS[wide]
    plan.launch(plan.name("layer_norm_row_means"), x, means, dy, x, gamma, residual, mean, rstd, *sizes(x))
    across = -(-C // (COLUMNS * (16 // x.itemsize if wide else 1)))
    sums = empty(x, (max(1, blocks(x, N * across, 4) // across), 2, C), T)
    arguments = dx, sums, means, dy, dh, x, gamma, residual, mean, rstd, *sizes(x)
    SOURCE.kernel(_columns(wide), x)((across, len(sums)), (COLUMNS,), arguments)
    return len(sums), sums


def _check_saved(function, x, **saved):
    """What another backend may have saved."""
    check_launch(function, **saved)
    for name, a in saved.items():
        check.shape(function, name, a, (len(x), 1))
        if a.dtype != arithmetic(x.dtype):
            raise DtypeError(f"{function}: {name} is {a.dtype}, expected {arithmetic(x.dtype)}")


def _plan(plans, *arrays):
    """Whether accesses of 16 bytes are possible, and the fewest threads that hold a row of these arrays, or None."""
    given = [a for a in arrays if a is not None]
    x = given[0]
    C = x.shape[1]
    wide, together = width(C, *given) > 1, clusters(x)
    fit = (p for p in plans if p.group * p.held >= C * arithmetic(x.dtype).itemsize)
    return wide, next((p for p in fit if p.wide == wide and (together or p.cluster == 1)), None)
