"""Attention on tensor cores, of bfloat16: launches tensor_cores.cu, and says which heads it has. README.md."""

import numpy as np

from nlp_kernels.attention import decode
from nlp_kernels.attention.problem import as_saved, ascending, gradients, lengths, problem, results
from nlp_kernels.common.cuda import Source, empty, serves, span
from nlp_kernels.common.gpu import blocks, capability, shared_memory

HEADS = (64, 128, 256)  # what a row of Q, K or V is padded to

SOURCE = Source(
    __file__,
    *(f"attention_{kernel}<{head}>" for kernel in ("forward", "keys", "queries") for head in HEADS),
    "attention_delta",
    dtypes=("bfloat16",),
    oldest=80,
)


def supports(q, k, v, keep=None, key_lengths=None, **hyper):
    if not (serves(q) and q.dtype.name in SOURCE.dtypes and capability(q) >= SOURCE.oldest):
        return False
    D = max(q.shape[3], v.shape[3])
    return max(HEADS) >= D and max(_forward_bytes(_head(D)), _backward_bytes(_head(D))) <= shared_memory(q)


def forward(q, k, v, keep=None, key_lengths=None, *, causal=False, scale=None, dropout=None):
    if decode.pays(q, k, v):
        return decode.forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)
    (B, H, T, D), Dv = q.shape, v.shape[3]
    memory, o, lse = results(q, v)
    if lse.size:
        head, (q, k, v) = _head(max(D, Dv)), map(ascending, (q, k, v))
        asked = problem(q, k, v, keep, causal, scale, dropout, o=o)
        arrays = memory, lse, span(q), span(k), span(v), keep, lengths(key_lengths), asked
        _launch(f"attention_forward<{head}>", q, B * H, T, 1, head, arrays, _forward_bytes(head))
    return o, (o, lse)


def backward(do, q, k, v, keep=None, key_lengths=None, saved=None, *, causal=False, scale=None, dropout=None):
    if saved is None:
        saved = forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)[1]
    (B, H, T, D), (KH, S, Dv) = q.shape, v.shape[1:]
    o, lse = as_saved(q, saved)
    do, q, k, v, o = map(ascending, (do, q, k, v, o))
    delta = empty(q, (B, H, T), np.float32)
    dq, dk, dv = gradients(q, k, v)
    asked = problem(q, k, v, keep, causal, scale, dropout, o=o, do=do)
    if delta.size:
        arrays = delta, span(do), span(o), asked, np.int64(delta.size)
        SOURCE.kernel("attention_delta", q)((blocks(q, -(-delta.size // 16)),), (128,), arrays)
    read = span(do), span(q), span(k), span(v), lse, delta, keep, lengths(key_lengths), asked
    head = _head(max(D, Dv))
    shared_out = 1 if head <= 128 else 2  # gradients that blocks share out, as tensor_cores.cu says
    for kernel, written, heads, rows, z in (("keys", (dk, dv), KH, S, shared_out), ("queries", (dq,), H, T, 1)):
        if B * heads * rows:
            _launch(
                f"attention_{kernel}<{head}>", q, B * heads, rows, z, head, (*written, *read), _backward_bytes(head)
            )
    return tuple(x.transpose(0, 2, 1, 3) for x in (dq, dk, dv))


def _head(D):
    return next(head for head in HEADS if head >= D)


def _rows(head):
    """Of a block: 16 for each warp."""
    return 128 if head <= 128 else 64


def _forward_bytes(head):
    """Shared memory: queries, and two steps of K and V."""
    return 2 * head * (_rows(head) + 4 * (64 if head <= 128 else 32))


def _backward_bytes(head):
    """Two matrices of a block's rows, two steps of two others, and of two statistics."""
    step = 4096 // head
    return 2 * head * (2 * _rows(head) + 4 * step) + 4 * 4 * step


def _launch(instance, x, heads, rows, z, head, arguments, shared):
    kernel = SOURCE.kernel(instance, x)
    if shared > 48 << 10:
        kernel.max_dynamic_shared_size_bytes = shared
    kernel((heads * -(-rows // _rows(head)), 1, z), (2 * _rows(head),), arguments, shared_mem=shared)
