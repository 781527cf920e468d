"""The AdamW step on NVIDIA GPUs: many parameters in one launch of cuda.cu, by tables that stay there. README.md."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from nlp_kernels.adamw import reference
from nlp_kernels.common.cuda import Source, address, check_launch, device_of, empty, serves
from nlp_kernels.common.sending import on_device, pointers

THREADS, LENGTH = 256, 4096  # threads of a block, numbers of a chunk: a multiple of 16 bytes
PLANS = 64  # lists of parameters whose tables are kept

STEP, SQUARES = "adamw_step<T, 16 / sizeof(T)>", "adamw_squares<T, 16 / sizeof(T)>"
SENDING, CLIP = "adamw_numbers<T>", "adamw_clip<T>"
SOURCE = Source(__file__, STEP, SENDING, SQUARES, CLIP)
NUMBERS = ("beta1", "rest1", "beta2", "rest2", "correct1", "correct2", "lr", "eps", "decay")

_plans: dict[Any, Plan] = {}  # the one used last is the last


def supports(theta, *inputs, **hyper):
    return serves(theta) and theta.dtype.itemsize >= 4


def step(theta, g, m, v, grad_scale=None, *, decoupled=True, out=None, **hyper):
    out = out or tuple(x.copy() for x in (theta, m, v))
    for target, x in zip(out, (theta, m, v), strict=True):
        if target is not x:
            target[...] = x
    step_all([(out[0], g, out[1], out[2])], grad_scale, decoupled=decoupled, **hyper)
    return out


def step_all(parameters, grad_scale=None, *, decoupled=True, **hyper):
    """`step` in place for a list of (theta, g, m, v), in one launch."""
    plan = plan_of(parameters)
    plan.prepare(**hyper)
    plan.launch([g for _, g, _, _ in parameters], grad_scale, decoupled=decoupled)


def clip_scale(gradients, max_norm):
    """The norm of all gradients and the factor that clips them, on the GPU: nothing waits for them there."""
    if any(g.dtype != gradients[0].dtype for g in gradients):
        return reference.clip_scale(gradients, max_norm)  # of several dtypes: rare
    check_launch("adamw.clip_scale", **{f"gradients[{k}]": g for k, g in enumerate(gradients)})
    like, cut = gradients[0], cut_of(gradients)
    partial, norm, scale = (empty(like, shape, T) for shape, T in (((cut.chunks,), "f8"), ((), "f8"), ((), like.dtype)))
    if cut.chunks:
        SOURCE.kernel(SQUARES, like)((cut.chunks,), (THREADS,), (partial, pointers(gradients), *cut.arguments))
    SOURCE.kernel(CLIP, like)((1,), (THREADS,), (norm, scale, partial, np.int32(cut.chunks), np.float64(max_norm)))
    return norm, scale


def plan_of(parameters: Any) -> Plan:
    """The tables of a list of (theta, g, m, v), made anew where theta, m or v lie elsewhere than in any kept list."""
    thetas, _, ms, vs = zip(*parameters, strict=True)
    if type(thetas[0]) is np.ndarray:
        return Plan(thetas, ms, vs)
    key = thetas[0].dtype, *((address(x), address(m), address(v), x.size) for x, _, m, v in parameters)
    plan = _plans.pop(key, None) or Plan(thetas, ms, vs)
    _plans[key] = plan
    if len(_plans) > PLANS:
        del _plans[next(iter(_plans))]
    return plan


class Plan:
    """Where the parameters of a list lie, and the numbers of the step to come, on the GPU.

    `prepare` sends the numbers, `launch` steps by what was sent last: a graph captures `launch` alone.
    """

    def __init__(self, thetas: Any, ms: Any, vs: Any):
        lists = {"theta": thetas, "m": ms, "v": vs}
        check_launch("adamw.step", **{f"{name}[{k}]": x for name, xs in lists.items() for k, x in enumerate(xs)})
        self.theta, self.m, self.v = map(pointers, (thetas, ms, vs))
        self.cut = cut_of(thetas)
        self.numbers = empty(thetas[0], (len(NUMBERS),))
        self._sent: Any = None

    def prepare(self, *, t, lr, beta1, beta2, eps, weight_decay) -> None:
        """Send what changes from step to step, unless it is there: by a launch, so that nothing waits."""
        means = beta1, 1 - beta1, beta2, 1 - beta2, 1 / (1 - beta1**t), 1 / (1 - beta2**t)  # in double precision
        values = (*means, lr, eps, weight_decay)
        if values != self._sent:
            record = np.array(values, [(name, self.numbers.dtype) for name in NUMBERS])
            SOURCE.kernel(SENDING, self.numbers)((1,), (1,), (self.numbers, record))
            self._sent = values

    def launch(self, gradients, grad_scale=None, *, decoupled=True) -> None:
        """One step of every parameter by its gradient; gradients that lie where they lay before cost no upload."""
        named = {f"g[{k}]": g for k, g in enumerate(gradients)}
        check_launch("adamw.step", theta=self.numbers, **named, grad_scale=grad_scale)
        if self.cut.chunks:
            arrays = self.theta, pointers(gradients), self.m, self.v, *self.cut.arguments, self.numbers, grad_scale
            SOURCE.kernel(STEP, self.numbers)((self.cut.chunks,), (THREADS,), (*arrays, np.bool_(decoupled)))


class Cut(NamedTuple):
    """A list of arrays in chunks, each at most LENGTH numbers of one of them."""

    chunks: int
    arguments: tuple[Any, Any, Any]  # of a kernel: the arrays' sizes, the chunks, LENGTH


def cut_of(arrays: Any) -> Cut:
    return _cut(tuple(x.size for x in arrays), LENGTH, device_of(arrays[0]))


@functools.lru_cache(maxsize=PLANS)
def _cut(sizes: tuple[int, ...], length: int, device: int | None) -> Cut:
    chunks = [(k, first) for k, n in enumerate(sizes) for first in range(0, n, length)]
    tables = (on_device(np.array(x, np.int64), device) for x in (sizes, chunks))
    return Cut(len(chunks), (*tables, np.int32(length)))
