"""The folder of one training run: what was asked for, how it went, and the checkpoint to go on from."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from nlp_kernels.errors import UserError

from tinygrad_nlp.train.checkpoint import FILE_NAME


class RunFolder:
    """`config.json`, `metrics.jsonl`, `checkpoint.safetensors`, `loss.png`, `samples.txt`."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoint = path / FILE_NAME

    @classmethod
    def create(cls, name: str, out: str | None = None, *, parent: Path = Path("runs")) -> RunFolder:
        """A new folder: `out`, which must not exist yet, or the next free number, as `runs/gpt-001`."""
        path = Path(out) if out is not None else _next_free(parent, name)
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            if out is None:  # another run took the number a moment ago
                return cls.create(name, parent=parent)
            raise UserError(
                f"{path} exists already; choose another --out, or continue that run with --resume {path}"
            ) from error
        except OSError as error:
            raise UserError(f"cannot make the run folder {path}: {error.strerror or error}") from error
        return cls(path)

    @classmethod
    def existing(cls, path: str) -> RunFolder:
        """The folder of a run; the path of its checkpoint will do too."""
        folder = Path(path).parent if Path(path).name == FILE_NAME else Path(path)
        if not folder.is_dir():
            raise UserError(f"there is no run folder {path}")
        return cls(folder)

    def files(self) -> list[str]:
        """The names of what is in the folder."""
        return sorted(p.name for p in self.path.iterdir())

    def write(self, name: str, content: str | bytes) -> None:
        """Write one small file whole: aside, then renamed."""
        aside = self.path / (name + ".part")
        try:
            aside.write_bytes(content.encode() if isinstance(content, str) else content)
            aside.replace(self.path / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise UserError(f"cannot write {self.path / name}: {error.strerror or error}") from error

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line to `metrics.jsonl`, on the disk as soon as it is written."""
        try:
            with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self.path / 'metrics.jsonl'}: {error.strerror or error}") from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`; one cut short by a kill or a full disk is left out, and all that follow it."""
        lines: list[dict[str, Any]] = []
        path = self.path / "metrics.jsonl"
        for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
        return lines

    def forget_metrics_after(self, step: int) -> None:
        """Drop the lines past a checkpoint's step: the continued run writes them again."""
        kept = [line for line in self.read_metrics() if line["step"] <= step]
        self.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))


def _next_free(parent: Path, name: str) -> Path:
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    taken = [int(m[1]) for p in (parent.iterdir() if parent.is_dir() else ()) if (m := pattern.fullmatch(p.name))]
    return parent / f"{name}-{max(taken, default=0) + 1:03d}"
