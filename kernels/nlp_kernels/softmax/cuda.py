"""Softmax and log-softmax on NVIDIA GPUs. README.md."""

import numpy as np

from nlp_kernels.common.cuda import arithmetic, check_launch, empty_like, serves
from nlp_kernels.common.rows import plan, sizes, source

HOLDS = {"softmax_forward": 1, "softmax_backward": 2}  # arrays of a row that each kernel keeps in registers
SOURCE = source(__file__, HOLDS)


def supports(x, keep=None, **hyper):
    return serves(x) and x.shape[1] < 2**31


def forward(x, keep=None, *, temperature=1.0, log=False):
    y = empty_like(x)
    check_launch("softmax.forward", x=x, keep=keep)
    _launch("softmax_forward", (y, x), keep, temperature, log)
    return y, y


def backward(dy, x, keep=None, saved=None, *, temperature=1.0, log=False):
    y = forward(x, keep, temperature=temperature, log=log)[0] if saved is None else saved
    check_launch("softmax.backward", x=x, dy=dy, saved=y, keep=keep)
    dx = empty_like(x)
    _launch("softmax_backward", (dx, dy, y), keep, temperature, log)
    return (dx,)


def _launch(name, arrays, keep, temperature, log):
    x = arrays[0]
    if x.size == 0:
        return
    chosen = plan(HOLDS[name], *arrays)
    scale = arithmetic(x.dtype).type(1 / temperature)
    kernel = SOURCE.kernel(chosen.instance(name), x)
    kernel(chosen.grid(x), chosen.block, (*arrays, *_mask(keep), *sizes(x), scale, np.bool_(log)))


def _mask(keep):
    """The mask and its strides, 0 along an axis of one."""
    if keep is None:
        return None, np.int32(0), np.int32(0)
    rows, columns = keep.shape
    return keep, np.int32(columns if rows > 1 else 0), np.int32(1 if columns > 1 else 0)
