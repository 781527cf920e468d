"""What a passed check has seen: for each argument and order the error found, and the smallest it could have found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """`error` and `floor` are relative to the derivative; `note` says why there is nothing to compare."""

    argument: str
    order: int
    oracle: str
    error: float
    floor: float
    note: str = ""


@dataclass
class Report:
    """Printed as a table. `floor` is the achievable one: a smaller error cannot be seen in this precision."""

    name: str
    dtype: str
    rows: list[Row] = field(default_factory=list)

    @property
    def error(self) -> float:
        """The largest error found."""
        return max((row.error for row in self.rows), default=0.0)

    @property
    def floor(self) -> float:
        """The largest error that may have passed unseen."""
        return max((row.floor for row in self.rows), default=0.0)

    def __str__(self) -> str:
        width = max([8, *(len(row.argument) for row in self.rows)])
        lines = [
            f"{self.name}: gradients in {self.dtype}; an error above the floor would have been seen",
            f"{'argument':{width}}  order  {'oracle':12} {'error':>8} {'floor':>8}",
        ]
        for row in self.rows:
            figures = f"{row.note:>17}" if row.note else f"{row.error:8.1e} {row.floor:8.1e}"
            lines.append(f"{row.argument:{width}}  {row.order:5}  {row.oracle:12} {figures}".rstrip())
        return "\n".join(lines)

    __repr__ = __str__
