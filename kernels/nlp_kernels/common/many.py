"""Many arrays for one kernel: their addresses in a table, so that a hundred small ones cost one call, not a hundred.

    kernel(like, *table([[theta, g, m, v] for each parameter]), …)

    for k in range(len(addresses)):
        g = array_at(addresses[k, 1], first[k + 1] - first[k], like)

The caller keeps the arrays alive, all contiguous and of the dtype of `like`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from nlp_kernels.common.compiled import device


def table(rows: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Addresses (K, …) of rows of arrays, a row's of one size; and where each row begins if all lay end to end."""
    addresses = np.array([[x.__array_interface__["data"][0] for x in row] for row in rows], np.int64)
    first = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([row[0].size for row in rows], out=first[1:])
    return addresses, first


@intrinsic
def _pointer(typingctx, address, like):
    """An address as a pointer to numbers of the type in `like`."""
    kind = types.CPointer(like.dtype)  # type: ignore[attr-defined]

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.int64, like), codegen


@device
def array_at(address, n, like):
    """The n numbers at an address, as an array of the dtype of `like`."""
    return numba.carray(_pointer(address, like), (n,))
