"""Which threads have a row of an (N, C) array, and how much of it each holds: the launchers' side of rows.cuh."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nlp_kernels.common.cuda import Source, arithmetic, width
from nlp_kernels.common.gpu import blocks, clusters

LARGEST_BLOCK = 512


@dataclass(frozen=True)
class Plan:
    """A group of threads for each row: a warp, a block, or a cluster of blocks."""

    group: int  # threads
    held: int  # bytes that each has of the row in registers; 0: any number, the group goes round the row
    wide: bool = False  # accesses of 16 bytes

    def instance(self, name: str) -> str:
        """The name expression of a kernel's instance."""
        if not self.held:
            return f"{name}_long<T, {self.group}>"
        return f"{name}<T, {self.group}, {self.held} / sizeof(arithmetic<T>), {'16 / sizeof(T)' if self.wide else '1'}>"

    @property
    def fits(self) -> bool:
        """Whether there are registers enough: those of 32 numbers, and no more for 32 addresses."""
        return self.wide or self.held < 128

    @property
    def cluster(self) -> int:
        """Blocks that share a row."""
        return max(1, self.group // LARGEST_BLOCK)

    @property
    def block(self) -> tuple[int]:
        return (min(max(self.group, 128), LARGEST_BLOCK),)

    def grid(self, x: Any) -> tuple[int]:
        """The blocks for the rows of x."""
        needed = -(-x.shape[0] * self.group // self.block[0])
        return (max(1, blocks(x, needed) // self.cluster) * self.cluster,)


# (threads, bytes of registers), the shortest rows first; for kernels that hold one array of the row, and for two
HELD = {
    1: ((32, 32), (32, 64), (128, 64), (512, 64), (1024, 64), (4096, 64), (4096, 128)),
    2: ((32, 32), (128, 32), (512, 32), (1024, 32), (4096, 32), (4096, 64)),
}
LONG = (Plan(512, 0), Plan(4096, 0))


def source(launcher: str, holds: dict[str, int]) -> Source:
    """The `cuda.cu` beside a launcher, with every plan of its kernels: name -> how many arrays of a row it holds."""
    instances: dict[bool, list[str]] = {False: [], True: []}
    for kernel, arrays in holds.items():
        held = (Plan(group, held, wide) for group, held in HELD[arrays] for wide in (False, True))
        for p in (*held, *LONG):
            if p.fits:
                instances[p.cluster > 1].append(p.instance(kernel))
    return Source(launcher, *instances[False], clusters=tuple(instances[True]))


def plan(arrays_held: int, *arrays: Any) -> Plan:
    """For the rows of arrays of one shape: the fewest threads that hold a row; no clusters before sm_90."""
    x = arrays[0]
    C, together = x.shape[1], clusters(x)
    values = arithmetic(x.dtype).itemsize
    wide = width(C, *arrays) > 1
    for group, held in HELD[arrays_held]:
        chosen = Plan(group, held, wide)
        if group * held >= C * values and (together or chosen.cluster == 1) and chosen.fits:
            return chosen
    return LONG[together]


def sizes(x: Any) -> tuple[np.int64, np.int32]:
    """N and C as the kernels take them."""
    return np.int64(x.shape[0]), np.int32(x.shape[1])
