"""What is trained on and what is judged by: the end of one long text, or tenths of many short ones."""

from __future__ import annotations

import numpy as np
from nlp_kernels.errors import UserError
from numpy.typing import NDArray

from tinygrad_nlp.random import Generator

Ids = NDArray[np.int64]


def split_tokens(tokens: Ids, block_size: int, *, validation: float = 0.1) -> tuple[Ids, Ids]:
    """The first part to train on and the last to judge by.  (T,) -> (T − v,), (v,), v = ⌊validation · T⌋

    Both parts must hold a window and its next token. Raises UserError for a shorter text, naming the length it needs.

    >>> train, held_out = text.split_tokens(np.arange(30), 2)
    >>> len(train), held_out
    (27, array([27, 28, 29]))
    """
    held_out = int(len(tokens) * validation)
    train, held = tokens[: len(tokens) - held_out], tokens[len(tokens) - held_out :]
    if min(len(train), len(held)) <= block_size:
        needed = int(np.ceil((block_size + 1) / min(validation, 1 - validation)))
        raise UserError(
            f"the text has {len(tokens):,} tokens, too few for blocks of {block_size}: its last {validation:.0%} is "
            f"kept for validation and must hold a block too, so it takes about {needed:,}; "
            "use a longer text or a smaller --block-size"
        )
    return train, held


def random_parts(n: int, *, held_out: int = 2) -> tuple[Ids, ...]:
    """Which of N examples to train on, and `held_out` tenths to judge by.  N -> (N − h ⌊N/10⌋,), (⌊N/10⌋,), …

    The first tenth is for choices during training (validation), the second for the end alone (test). Drawn once and for
    all: the same N has the same parts, whatever a run's seed, so that runs are judged by the same examples. Raises
    UserError for fewer than 10 examples.

    >>> train, validation, test = text.random_parts(20)
    >>> len(train), validation, test
    (16, array([7, 8]), array([10, 11]))
    """
    if n < 10:
        raise UserError(f"{n} examples are too few: a tenth is kept for validation, so it takes 10 or more")
    order, tenth = Generator(0).permutation(n), n // 10
    parts = [np.sort(order[i * tenth : (i + 1) * tenth]) for i in range(held_out)]
    return np.sort(order[held_out * tenth :]), *parts
