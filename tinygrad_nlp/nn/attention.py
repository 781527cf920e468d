"""Multi-head attention."""

from __future__ import annotations

import math
from typing import Any

from nlp_kernels.errors import ShapeError

from tinygrad_nlp import ops
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn import init
from tinygrad_nlp.nn.linear import Linear
from tinygrad_nlp.nn.masks import both, causal_keep, keep_of
from tinygrad_nlp.nn.module import Module, parameter


class MultiheadAttention(Module):
    """concat(head_1 … head_H) W_O, head_i = softmax(Q_i K_iᵀ / √d) V_i, Q = x W_Q + b_Q, … (E33, E35, E36, E37).

    query (T, B, E), key (S, B, kdim), value (S, B, vdim) -> output (T, B, E) and, with `need_weights`, the attention
    weights (B, T, S), averaged over the heads, or (B, H, T, S). `batch_first` puts B before T and S; without a batch
    the axis B is absent everywhere. W_Q, W_K and W_V begin as Xavier's uniform numbers, W_O as U(-1/√E, 1/√E), the
    biases as 0. With fewer `num_kv_heads` than heads, neighbouring heads share keys and values (Ainslie et al. 2023).
    Raises ValueError unless the heads share the features, and keys and values, and 0 <= dropout < 1, ShapeError where
    the shapes do not fit, DtypeError for what is no mask and a dtype that is not floating-point.

    >>> x = np.ones((3, 2, 4))
    >>> output, weights = nn.MultiheadAttention(4, num_heads=2)(x, x, x)
    >>> output.shape, weights.shape
    ((3, 2, 4), (2, 3, 3))
    """

    in_proj_weight: Tensor | None
    in_proj_bias: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        num_kv_heads: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: {embed_dim} features cannot be shared by {num_heads} heads")
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if self.num_kv_heads <= 0 or num_heads % self.num_kv_heads:
            raise ValueError(
                f"MultiheadAttention: {num_heads} heads cannot share {self.num_kv_heads} heads of keys and values"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"MultiheadAttention: dropout must be in [0, 1), got {dropout}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        kv = embed_dim // num_heads * self.num_kv_heads
        if self.kdim == self.vdim == embed_dim:  # W_Q, W_K, W_V one below another
            self.in_proj_weight = parameter((embed_dim + 2 * kv, embed_dim), device, dtype)
        else:
            self.q_proj_weight = parameter((embed_dim, embed_dim), device, dtype)
            self.k_proj_weight = parameter((kv, self.kdim), device, dtype)
            self.v_proj_weight = parameter((kv, self.vdim), device, dtype)
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", parameter((embed_dim + 2 * kv,), device, dtype) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        for p in self.parameters(recurse=False):
            if p.ndim == 2:
                init.xavier_uniform_(p)
        self.out_proj.reset_parameters()
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(output, weights or None). In both masks True means "must not attend"; float masks have 0 and -inf.

        key_padding_mask: (B, S), True at padding; attn_mask: (T, S) or (B·H, T, S); `is_causal` forbids keys j > i,
        with or without `attn_mask`. A query that may attend to nothing gets weights of 0 (PyTorch: NaN). The weights
        are those after dropout.
        """
        batched = self._check(query, key, value)
        q, k, v = (self._split(x, batched) for x in self._project(query, key, value))  # (B, H | KH, T | S, D)
        keep = self._keep(key_padding_mask, attn_mask, q.shape, k.shape)
        p = self.dropout if self.training else 0.0
        if not need_weights:
            o = F.scaled_dot_product_attention(q, k, v, keep, p, is_causal, enable_gqa=True)
            return self._join(o, batched), None
        if is_causal:
            keep = both(keep, causal_keep(q.data, q.shape[2], k.shape[2]))
        if self.num_kv_heads != self.num_heads:
            k, v = (ops.repeat(x, self.num_heads // self.num_kv_heads, axis=1) for x in (k, v))
        weights = ops.softmax(ops.matmul(q * (1 / math.sqrt(q.shape[3])), k.mT), keep=keep)  # (B, H, T, S)
        weights = F.dropout(weights, p)
        o = self._join(ops.matmul(weights, v), batched)
        if average_attn_weights:
            weights = ops.mean(weights, axis=1)
        return o, weights if batched else weights[0]

    def _project(self, query: Any, key: Any, value: Any) -> list[Tensor]:
        """Q, K, V of all heads, (..., E) each; one product where all three come from one input."""
        E, w, b = self.embed_dim, self.in_proj_weight, self.in_proj_bias
        kv = E // self.num_heads * self.num_kv_heads
        parts = slice(E), slice(E, E + kv), slice(E + kv, None)
        if w is None:
            ws = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        elif query is key and key is value:
            qkv = F.linear(query, w, b)
            if kv == E:  # one node, whose gradient lies there already
                return list(ops.unstack(ops.reshape(qkv, (*qkv.shape[:-1], 3, E)), axis=-2))
            return [qkv[..., part] for part in parts]
        else:
            ws = [w[part] for part in parts]
        bs = [None if b is None else b[part] for part in parts]
        return [F.linear(x, wi, bi) for x, wi, bi in zip((query, key, value), ws, bs, strict=True)]

    def _split(self, x: Tensor, batched: bool) -> Tensor:
        """(T, B, H D), or (B, T, H D) if `batch_first`, or (T, H D) -> (B, H, T, D)"""
        if not batched:
            x = ops.expand_dims(x, axis=0 if self.batch_first else 1)
        D = self.embed_dim // self.num_heads
        x = ops.reshape(x, (*x.shape[:2], x.shape[2] // D, D))
        return ops.permute_dims(x, (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3))

    def _join(self, o: Tensor, batched: bool) -> Tensor:
        """The inverse of `_split`, and W_O."""
        o = ops.permute_dims(o, (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3))
        shape = (*o.shape[:2], self.embed_dim)
        joined = ops.reshape(o, shape if batched else (math.prod(shape[:2]), self.embed_dim))
        return self.out_proj(joined)

    def _keep(self, key_padding_mask: Any, attn_mask: Any, q_shape: tuple, k_shape: tuple) -> Any:
        """Both masks as one `keep`, True = may attend, broadcastable to (B, H, T, S)."""
        (B, H, T, _), S = q_shape, k_shape[2]
        padding = keep_of("MultiheadAttention: key_padding_mask", key_padding_mask, true_attends=False)
        if padding is not None:
            if padding.shape not in ((B, S), (S,)) or (padding.ndim == 1 and B != 1):
                raise ShapeError(f"MultiheadAttention: key_padding_mask has shape {padding.shape}, expected {(B, S)}")
            padding = padding.reshape(B, 1, 1, S)
        allowed = keep_of("MultiheadAttention: attn_mask", attn_mask, true_attends=False)
        if allowed is not None:
            if allowed.shape not in ((T, S), (B * H, T, S)):
                raise ShapeError(
                    f"MultiheadAttention: attn_mask has shape {allowed.shape}, expected {(T, S)} or {(B * H, T, S)}"
                )
            allowed = allowed.reshape(1, 1, T, S) if allowed.ndim == 2 else allowed.reshape(B, H, T, S)
        return both(padding, allowed)

    def _check(self, query: Any, key: Any, value: Any) -> bool:
        """Whether there is a batch axis; raises ShapeError naming all three shapes."""
        n, batch = query.ndim, 0 if self.batch_first else 1
        fits = n in (2, 3) and key.ndim == value.ndim == n
        fits = fits and (query.shape[-1], key.shape[-1], value.shape[-1]) == (self.embed_dim, self.kdim, self.vdim)
        fits = fits and key.shape[:-1] == value.shape[:-1]
        if not fits or (n == 3 and query.shape[batch] != key.shape[batch]):
            order = "(B, T, features)" if self.batch_first else "(T, B, features)"
            raise ShapeError(
                f"MultiheadAttention: query {query.shape}, key {key.shape} and value {value.shape} must be {order} or "
                f"(T, features) with {self.embed_dim}, {self.kdim} and {self.vdim} features"
            )
        return n == 3

    def extra_repr(self) -> str:
        shared = f", num_kv_heads={self.num_kv_heads}" if self.num_kv_heads != self.num_heads else ""
        dropout = f", dropout={self.dropout}" if self.dropout else ""
        return f"{self.embed_dim}, num_heads={self.num_heads}{shared}{dropout}"
