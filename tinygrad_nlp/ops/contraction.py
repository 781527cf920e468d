"""Sums of products written with indices; each step is a transpose, a sum or a matrix product, and so differentiable."""

import math
from collections import Counter

from nlp_kernels.errors import DtypeError, ShapeError

from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.ops.creation import asarray
from tinygrad_nlp.ops.linear_algebra import matmul
from tinygrad_nlp.ops.matrices import diagonal
from tinygrad_nlp.ops.reduction import sum as sum_over
from tinygrad_nlp.ops.shape import moveaxis, permute_dims, reshape

__all__ = ["einsum"]


@explained
def einsum(subscripts, /, *operands):
    """Σ over the letters not in the output of the operands' product.  "ij,jk->ik": (N, K), (K, M) -> (N, M)

    A letter twice in one operand takes the diagonal, "..." stands for axes that broadcast; without "->" the output has
    the letters that occur once, in alphabetical order. Raises ShapeError where letters, axes and sizes do not fit,
    DtypeError for what is no text or array.

    >>> tn.einsum("ij,jk->ik", [[1.0, 2.0]], [[3.0], [4.0]])
    Tensor([[11.]])
    """
    if not isinstance(subscripts, str):
        raise DtypeError(f"einsum: the subscripts are a {type(subscripts).__name__}, expected a str")
    tensors = [asarray(x) for x in operands]
    terms, output = _parsed(subscripts, tensors)
    terms, tensors = map(list, zip(*(_own_diagonals(t, x) for t, x in zip(terms, tensors, strict=True)), strict=True))
    sizes: dict = {}
    for term, x in zip(terms, tensors, strict=True):
        for label, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(label, n) != n and 1 not in (n, sizes[label]):
                raise ShapeError(f"einsum {subscripts!r}: {label!r} has the sizes {sizes[label]} and {n}")
            sizes[label] = n if sizes[label] == 1 else sizes[label]
    for i, x in enumerate(tensors):  # an axis of size 1 broadcasts: it is dropped
        kept = [label for label, n in zip(terms[i], x.shape, strict=True) if n == sizes[label]]
        tensors[i], terms[i] = reshape(x, tuple(sizes[label] for label in kept)), kept
    term, x = terms[0], tensors[0]
    for k in range(1, len(tensors)):
        later = {*output}.union(*terms[k + 1 :])
        term, x = _product(term, x, terms[k], tensors[k], later, sizes)
    x, term = _summed(x, term, {*output})
    return permute_dims(x, tuple(map(term.index, output)))


def _parsed(subscripts, tensors):
    """The labels of each operand and of the output; an ellipsis becomes the labels -1, -2, … from the right."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    written = inputs.split(",")
    shapes = ", ".join(str(x.shape) for x in tensors)
    if len(written) != len(tensors):
        raise ShapeError(f"einsum {subscripts!r} names {len(written)} operands, given are {len(tensors)}: {shapes}")
    terms, widest = [], 0
    for text, x in zip(written, tensors, strict=True):
        front, dots, back = text.partition("...")
        more = x.ndim - len(front) - len(back)
        if (more and not dots) or more < 0 or not (front + back + "a").isalpha():
            raise ShapeError(f"einsum {subscripts!r}: {text!r} does not name the axes of shape {x.shape} ({shapes})")
        terms.append([*front, *range(-more, 0), *back])
        widest = max(widest, more)
    front, dots, back = output.partition("...")
    if not arrow:
        count = Counter(inputs.replace(".", "").replace(",", ""))
        dots, back = "...", "".join(sorted(c for c, n in count.items() if n == 1))
    result = [*front, *(range(-widest, 0) if dots else ()), *back]
    known = {label for term in terms for label in term}
    if len({*result}) < len(result) or not known.issuperset(result):
        raise ShapeError(f"einsum {subscripts!r}: the output {output!r} repeats a letter, or has one no operand has")
    return terms, result


def _own_diagonals(term, x):
    """An operand whose letters differ: of an axis pair with one letter, the diagonal."""
    while len({*term}) < len(term):
        label = next(c for c in term if term.count(c) > 1)
        i = term.index(label)
        j = term.index(label, i + 1)
        if x.shape[i] != x.shape[j]:
            raise ShapeError(f"einsum: {label!r} twice in one operand has the sizes {x.shape[i]} and {x.shape[j]}")
        x = diagonal(moveaxis(x, (i, j), (-2, -1)))
        term = [c for k, c in enumerate(term) if k not in (i, j)] + [label]
    return term, x


def _summed(x, term, wanted):
    """Σ over the axes that nobody wants."""
    gone = tuple(i for i, c in enumerate(term) if c not in wanted)
    return (sum_over(x, axis=gone, dtype=x.dtype) if gone else x), [c for c in term if c in wanted]


def _product(left, a, right, b, later, sizes):
    """The product of two operands as one batched matrix product.  (batch, n, k) (batch, k, m) -> (batch, n, m)"""
    a, left = _summed(a, left, later | {*right})
    b, right = _summed(b, right, later | {*left})
    both = [c for c in left if c in right]
    batch, inner = [c for c in both if c in later], [c for c in both if c not in later]
    rows, columns = [c for c in left if c not in both], [c for c in right if c not in both]
    n, m, k, lead = (math.prod(sizes[c] for c in labels) for labels in (rows, columns, inner, batch))
    a = reshape(permute_dims(a, tuple(map(left.index, batch + rows + inner))), (lead, n, k))
    b = reshape(permute_dims(b, tuple(map(right.index, batch + inner + columns))), (lead, k, m))
    term = batch + rows + columns
    return term, reshape(matmul(a, b), tuple(sizes[c] for c in term))
