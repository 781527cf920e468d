"""Softmax and log-softmax on NVIDIA GPUs: which kernel of cuda.cu has which rows. README.md."""

import numpy as np

from nlp_kernels.common.cuda import Source, blocks, empty_like, serves, width

# threads, and bytes each has of a row in registers, shortest rows first; longer rows: a block goes round
FORWARD, BACKWARD, LONG = ((32, 16), (32, 64), (512, 64)), ((32, 16), (32, 32), (512, 32)), 512

SOURCE = Source(
    __file__,
    *(f"softmax_forward<T, {g}, {b} / sizeof(T), {w}>" for g, b in FORWARD for w in (1, "16 / sizeof(T)")),
    *(f"softmax_backward<T, {g}, {b} / sizeof(T), {w}>" for g, b in BACKWARD for w in (1, "16 / sizeof(T)")),
    f"softmax_forward_long<T, {LONG}>",
    f"softmax_backward_long<T, {LONG}>",
)


def supports(x, keep=None, **hyper):
    return serves(x) and x.shape[1] < 2**31


def forward(x, keep=None, *, temperature=1.0, log=False):
    y = empty_like(x)
    _launch("softmax_forward", FORWARD, (y, x), keep, temperature, log)
    return y, y


def backward(dy, x, keep=None, saved=None, *, temperature=1.0, log=False):
    y = forward(x, keep, temperature=temperature, log=log)[0] if saved is None else saved
    dx = empty_like(x)
    _launch("softmax_backward", BACKWARD, (dx, dy, y), keep, temperature, log)
    return (dx,)


def _launch(name, plans, arrays, keep, temperature, log):
    x = arrays[0]
    N, C = x.shape
    if x.size == 0:
        return
    wide = "1" if width(C, *arrays) == 1 else "16 / sizeof(T)"
    for group, held in plans:
        if group * held >= C * x.itemsize:
            instance = f"{name}<T, {group}, {held} / sizeof(T), {wide}>"
            break
    else:
        group, instance = LONG, f"{name}_long<T, {LONG}>"
    threads = max(group, 128)
    scale = x.dtype.type(1 / temperature)
    kernel = SOURCE.kernel(instance, x)
    grid = blocks(x, -(-N * group // threads))
    kernel((grid,), (threads,), (*arrays, *_mask(keep), np.int64(N), np.int32(C), scale, np.bool_(log)))


def _mask(keep):
    """The mask and its strides, 0 along an axis of one."""
    if keep is None:
        return None, np.int32(0), np.int32(0)
    rows, columns = keep.shape
    return keep, np.int32(columns if rows > 1 else 0), np.int32(1 if columns > 1 else 0)
