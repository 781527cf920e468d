"""What the tests of runs share: a run cut in two is the run that never stopped, to the last bit."""

from pathlib import Path

import numpy as np

from tinygrad_nlp.cli import main
from tinygrad_nlp.train.checkpoint import load_checkpoint
from tinygrad_nlp.train.run_folder import RunFolder


def trained(*arguments):
    """Train by the command line, quietly; the checkpoint and the lines of metrics of its `--out` or `--resume`."""
    words = ["train", *map(str, arguments), "--quiet"]
    assert main(words) == 0
    folder = words[words.index("--out" if "--out" in words else "--resume") + 1]
    return load_checkpoint(Path(folder)), RunFolder.existing(folder).read_metrics()


def assert_same_run(again, whole, *more):
    """Weights, optimiser, random numbers, place in the data and validation of two checkpoints are the same bits.

    So are the parts that `more` names.
    """
    for part in ("model", "optimizer", "random", "cursor", "step", "val_loss", *more):
        assert leaves(again[part]) == leaves(whole[part]), part


def leaves(tree, name=""):
    """What a checkpoint holds, by the way to it; arrays as their bytes."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in leaves(value, f"{name}.{key}").items()}
    return {name: tree.tobytes() if isinstance(tree, np.ndarray) else tree}
