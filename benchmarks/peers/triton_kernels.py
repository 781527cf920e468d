"""Row kernels as one writes them in Triton, peers on the GPU: a program has a row, in one block where it fits.

Each binder takes a work's tensors and gives what is timed; what the backward passes need is computed before.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

LONGEST = 1 << 17  # bytes of a row that is held in one block; longer rows are gone through twice
PART = 1 << 15  # bytes of such a row at a time


@triton.jit
def _softmax(y, x, C, BLOCK: tl.constexpr, LOG: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * C
    c = tl.arange(0, BLOCK)
    s = tl.load(x + start + c, mask=c < C, other=-float("inf"))
    s -= tl.max(s, 0)
    e = tl.exp(s)
    z = tl.sum(e, 0)
    tl.store(y + start + c, s - tl.log(z) if LOG else e / z, mask=c < C)


@triton.jit
def _largest_and_sum(x, C, BLOCK: tl.constexpr):
    """m = max x and Σ exp(x - m) of a row, in one pass."""
    m = tl.load(x)
    z = m * 0
    for at in range(0, C, BLOCK):
        c = at + tl.arange(0, BLOCK)
        s = tl.load(x + c, mask=c < C, other=-float("inf"))
        larger = tl.maximum(m, tl.max(s, 0))
        z = z * tl.exp(m - larger) + tl.sum(tl.exp(s - larger), 0)
        m = larger
    return m, z


@triton.jit
def _softmax_long(y, x, C, BLOCK: tl.constexpr, LOG: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * C
    m, z = _largest_and_sum(x + start, C, BLOCK)
    for at in range(0, C, BLOCK):
        c = at + tl.arange(0, BLOCK)
        s = tl.load(x + start + c, mask=c < C) - m
        tl.store(y + start + c, s - tl.log(z) if LOG else tl.exp(s) / z, mask=c < C)


@triton.jit
def _softmax_backward(dx, dy, y, C, BLOCK: tl.constexpr, LOG: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * C
    c = tl.arange(0, BLOCK)
    g = tl.load(dy + start + c, mask=c < C, other=0)
    p = tl.load(y + start + c, mask=c < C, other=0)
    total = tl.sum(g if LOG else g * p, 0)
    tl.store(dx + start + c, g - tl.exp(p) * total if LOG else p * (g - total), mask=c < C)


@triton.jit
def _softmax_backward_long(dx, dy, y, C, BLOCK: tl.constexpr, LOG: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * C
    total = tl.load(y + start) * 0
    for at in range(0, C, BLOCK):
        c = at + tl.arange(0, BLOCK)
        g = tl.load(dy + start + c, mask=c < C, other=0)
        total += tl.sum(g if LOG else g * tl.load(y + start + c, mask=c < C, other=0), 0)
    for at in range(0, C, BLOCK):
        c = at + tl.arange(0, BLOCK)
        g = tl.load(dy + start + c, mask=c < C)
        p = tl.load(y + start + c, mask=c < C)
        tl.store(dx + start + c, g - tl.exp(p) * total if LOG else p * (g - total), mask=c < C)


@triton.jit
def _layer_norm(y, mean, rstd, x, gamma, beta, C, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, BLOCK)
    h = tl.load(x + n * C + c, mask=c < C, other=0)
    m = tl.sum(h, 0) / C
    centred = tl.where(c < C, h - m, 0)
    r = 1 / tl.sqrt(tl.sum(centred * centred, 0) / C + 1e-5)
    tl.store(y + n * C + c, tl.load(gamma + c, mask=c < C) * centred * r + tl.load(beta + c, mask=c < C), mask=c < C)
    tl.store(mean + n, m)
    tl.store(rstd + n, r)


@triton.jit
def _layer_norm_backward(dx, dgammas, dbetas, dy, x, gamma, mean, rstd, N, C, BLOCK: tl.constexpr):
    """A program has every so-manieth row, and a row of the sums that are added up afterwards."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    c = tl.arange(0, BLOCK)
    weight = tl.load(gamma + c, mask=c < C, other=0)
    dgamma = weight * 0
    dbeta = weight * 0
    for n in range(program, N, programs):
        start = tl.cast(n, tl.int64) * C
        g = tl.load(dy + start + c, mask=c < C, other=0)
        r = tl.load(rstd + n)
        h = tl.where(c < C, (tl.load(x + start + c, mask=c < C, other=0) - tl.load(mean + n)) * r, 0)
        dh = g * weight
        tl.store(dx + start + c, r * (dh - tl.sum(dh, 0) / C - h * (tl.sum(dh * h, 0) / C)), mask=c < C)
        dgamma += g * h
        dbeta += g
    tl.store(dgammas + program * C + c, dgamma, mask=c < C)
    tl.store(dbetas + program * C + c, dbeta, mask=c < C)


@triton.jit
def _cross_entropy(loss, lse, x, target, C, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64)
    m, z = _largest_and_sum(x + n * C, C, BLOCK)
    total = m + tl.log(z)
    tl.store(lse + n, total)
    tl.store(loss + n, total - tl.load(x + n * C + tl.load(target + n)))


@triton.jit
def _cross_entropy_backward(dx, dloss, lse, x, target, C, BLOCK: tl.constexpr):
    n, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    c = part * BLOCK + tl.arange(0, BLOCK)
    p = tl.exp(tl.load(x + n * C + c, mask=c < C) - tl.load(lse + n))
    p = tl.where(c == tl.load(target + n), p - 1, p)
    tl.store(dx + n * C + c, tl.load(dloss + n) * p, mask=c < C)


@triton.jit
def _cross_entropy_both(loss, dx, dloss, x, target, C, BLOCK: tl.constexpr):
    """The loss and, since its gradient is linear in dloss, the gradient too: the second pass finds the row in L2."""
    n = tl.program_id(0).to(tl.int64)
    m, z = _largest_and_sum(x + n * C, C, BLOCK)
    total, right, weight = m + tl.log(z), tl.load(target + n), tl.load(dloss + n)
    tl.store(loss + n, total - tl.load(x + n * C + right))
    for at in range(0, C, BLOCK):
        c = at + tl.arange(0, BLOCK)
        p = tl.exp(tl.load(x + n * C + c, mask=c < C) - total)
        tl.store(dx + n * C + c, weight * tl.where(c == right, p - 1, p), mask=c < C)


def _block(x, longest=LONGEST) -> dict[str, int]:
    """The block for the rows of x, the whole row where it fits, and its warps."""
    block = min(triton.next_power_of_2(x.shape[1]), (longest if fits(x) else PART) // x.element_size())
    return {"BLOCK": block, "num_warps": 4 if block < 2048 else 8 if block < 8192 else 16 if block < 32768 else 32}


def fits(x) -> bool:
    return x.shape[1] * x.element_size() <= LONGEST


def softmax_forward(x, dp, log):
    kernel, (N, C) = _softmax if fits(x) else _softmax_long, x.shape

    def run():
        y = torch.empty_like(x)
        kernel[(N,)](y, x, C, LOG=log, **_block(x))
        return {"p": y}

    return run


def softmax_backward(x, dp, log):
    y, (N, C) = torch.log_softmax(x, -1) if log else torch.softmax(x, -1), x.shape
    kernel = _softmax_backward if fits(x) else _softmax_backward_long

    def run():
        dx = torch.empty_like(x)
        kernel[(N,)](dx, dp, y, C, LOG=log, **_block(x))
        return {"dx": dx}

    return run


def layer_norm_forward(x, gamma, beta, dy):
    def run():
        return {"y": _normed(x, gamma, beta)[0]}

    return run


def _normed(x, gamma, beta):
    N, C = x.shape
    if not fits(x):
        raise NotImplementedError(f"rows of {C} numbers are too long for one block")
    y, mean, rstd = torch.empty_like(x), x.new_empty(N), x.new_empty(N)
    _layer_norm[(N,)](y, mean, rstd, x, gamma, beta, C, **_block(x))
    return y, mean, rstd


def layer_norm_backward(x, gamma, beta, dy):
    (N, C), (_, mean, rstd) = x.shape, _normed(x, gamma, beta)
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count if x.is_cuda else 3

    def run():
        dx, parts = torch.empty_like(x), x.new_empty(2, processors, C)
        _layer_norm_backward[(processors,)](dx, parts[0], parts[1], dy, x, gamma, mean, rstd, N, C, **_block(x))
        dgamma, dbeta = parts.sum(1)
        return {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}

    return run


def cross_entropy_forward(x, target, dloss):
    return lambda: {"loss": _losses(x, target)[0]}


def _losses(x, target):
    N, C = x.shape
    loss, lse = x.new_empty(N), x.new_empty(N)
    _cross_entropy[(N,)](loss, lse, x, target, C, **_block(x, PART))
    return loss, lse


def cross_entropy_backward(x, target, dloss):
    (N, C), (_, lse) = x.shape, _losses(x, target)
    block = _block(x, PART)

    def run():
        dx = torch.empty_like(x)
        _cross_entropy_backward[(N, triton.cdiv(C, block["BLOCK"]))](dx, dloss, lse, x, target, C, **block)
        return {"dx": dx}

    return run


def cross_entropy_both(x, target, dloss):
    N, C = x.shape

    def run():
        loss, dx = x.new_empty(N), torch.empty_like(x)
        _cross_entropy_both[(N,)](loss, dx, dloss, x, target, C, **_block(x, PART))
        return {"loss": loss, "dx": dx}

    return run
