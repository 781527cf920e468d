"""One file that holds a whole training run: tensors as safetensors, everything else as JSON.  Nothing in it is code."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from nlp_kernels.errors import TinygradError, UserError

from tinygrad_nlp.train.settings import DTYPES

FORMAT = "tinygrad-nlp/1"
FILE_NAME = "checkpoint.safetensors"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a tree of dicts, lists, arrays and JSON values, so that the path always holds a whole checkpoint.

    Written aside, flushed to the disk, then renamed over the old one: a full disk or a kill at any moment leaves the
    old file as it was. Raises `UserError` when the disk refuses.
    """
    from safetensors.numpy import save

    tensors: dict[str, np.ndarray] = {}
    skeleton = _take_tensors(state, "", tensors)
    aside = path.with_name(path.name + ".part")
    try:
        with aside.open("wb") as file:
            file.write(save(tensors, {"format": FORMAT, "state": json.dumps(skeleton)}))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        kept = "; the checkpoint from before is still whole" if path.exists() else ""
        raise UserError(f"cannot write {path}: {_reason(error)}{kept}") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The tree that `save_checkpoint` wrote; `path` is the file or the run folder it is in.

    Raises `UserError` naming the file when it is missing, cut, damaged, or of another program.
    """
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        path = path / FILE_NAME
    if not path.exists():
        raise UserError(f"there is no checkpoint at {path}; name a run folder such as runs/gpt-001")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path} is no checkpoint of this program: its format is {metadata.get('format')!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        return _put_tensors(json.loads(metadata["state"]), tensors)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged or incomplete ({_reason(error)})") from error


def restore(
    state: dict[str, Any], path: Path, model_class: Callable[..., Any], config_class: Callable[..., Any],
    device: str = "cpu",
) -> Any:  # fmt: skip
    """The model of a checkpoint's state, for use; `UserError` naming `path` where its tensors do not fit."""
    dtype = DTYPES[state["settings"]["dtype"]]
    model = model_class(config_class(**state["config"])).to(device=device, dtype=dtype)
    fill(model, None, state, path)
    return model.eval()


def fill(model: Any, optimizer: Any, state: dict[str, Any], path: Path) -> None:
    """Put a checkpoint's tensors in their places; `UserError` naming `path` where they do not fit."""
    try:
        model.load_state_dict(state["model"])
        if optimizer is not None:
            optimizer.load_state_dict(state["optimizer"])
    except (TinygradError, KeyError, ValueError) as error:
        raise UserError(f"the tensors in {path} are not those of its model: {shorten(str(error), 200)}") from error


def _take_tensors(tree: Any, name: str, tensors: dict[str, np.ndarray]) -> Any:
    """The tree as JSON, its arrays moved to `tensors` under dotted names."""
    if isinstance(tree, np.ndarray):
        while name in tensors:  # a dot inside a key can spell another array's name
            name += "'"
        tensors[name] = np.asarray(tree, order="C")
        return {"tensor": name}
    if isinstance(tree, dict):
        return {"items": [[k, _take_tensors(v, f"{name}.{k}".lstrip("."), tensors)] for k, v in tree.items()]}
    if isinstance(tree, list | tuple):
        return [_take_tensors(v, f"{name}.{i}", tensors) for i, v in enumerate(tree)]
    return tree.item() if isinstance(tree, np.generic) else tree


def _put_tensors(tree: Any, tensors: dict[str, np.ndarray]) -> Any:
    if isinstance(tree, list):
        return [_put_tensors(v, tensors) for v in tree]
    if isinstance(tree, dict):
        if "tensor" in tree:
            return tensors[tree["tensor"]]
        return {k: _put_tensors(v, tensors) for k, v in tree["items"]}
    return tree


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened, and the rename is as durable as it gets
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
