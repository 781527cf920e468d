"""Losses, as functions and as layers: one text for both."""

from __future__ import annotations

from table import SAME, call, function, layer
from table.draws import apart, constant, integers, magnitudes, places, points, uniform

REDUCTIONS = ("mean", "sum", "none")
WEIGHTS = constant(uniform(4, low=0.5, high=2))
IGNORED = "ignore_index=2"
OPTIONS = ["", "reduction='sum'", "reduction='none'", IGNORED, "weight=w", f"weight=w, {IGNORED}, reduction='none'"]
SMOOTHED = ["label_smoothing=0.1", f"label_smoothing=0.1, weight=w, {IGNORED}", "label_smoothing=1.0, reduction='none'"]
CLASSES = [
    call(x=uniform(5, 4), y=integers(5, high=4)),
    call(x=uniform(2, 4, 3, 2), y=integers(2, 3, 2, high=4)),
]
PAIRS = [
    call(x=apart(2, 3), y=apart(2, 3, offset=0.1)),
    call(x=apart(), y=apart(offset=0.1)),
    call(x=magnitudes(4, low=1e6, high=1e9), y=magnitudes(4, low=1e-9, high=1e-6)),
]
BINARY = [
    call(x=uniform(2, 3), y=uniform(2, 3, low=0, high=1)),
    call(x=uniform(), y=uniform(low=0, high=1)),
    call(x=points(-700, -40, -1e-9, 1e-300, 40, 700), y=constant(points(1, 1, 0, 1, 0, 0))),
]
BINARY_WEIGHTS = {"w": constant(uniform(2, 3, low=0.5, high=2)), "p": constant(uniform(3, low=0.5, high=3))}


def of_classes(name, layer_name, options):
    """A loss of classes with each set of options, as a function and as a layer"""
    for option in options:
        calls = [{**c, "w": WEIGHTS} if "weight" in option else c for c in CLASSES]
        yield function(f"nn.functional.{name}({', '.join(filter(None, ('x, y', option)))})", SAME, *calls)
        yield layer(f"nn.{layer_name}({option})", "layer(x, y)", calls[0])


def of_pairs(name, layer_name, pairs):
    """A loss of two arrays of one shape in each reduction, as a function and as a layer"""
    for r in REDUCTIONS:
        yield function(f"nn.functional.{name}(x, y, reduction='{r}')", SAME, *pairs)
        yield layer(f"nn.{layer_name}(reduction='{r}')", "layer(x, y)", pairs[0])


ROWS = [
    *of_classes("cross_entropy", "CrossEntropyLoss", [*OPTIONS, *SMOOTHED]),
    *of_classes("nll_loss", "NLLLoss", OPTIONS),
    function(
        "nn.functional.cross_entropy(x, y)",
        SAME,
        call(x=uniform(3, 4, low=-700, high=700), y=places(0, 3, 2)),
        call(x=uniform(2, 1), y=places(0, 0)),
    ),
    *of_pairs("mse_loss", "MSELoss", PAIRS),
    *of_pairs("l1_loss", "L1Loss", PAIRS),
    *of_pairs("binary_cross_entropy_with_logits", "BCEWithLogitsLoss", BINARY),
    function(
        "nn.functional.binary_cross_entropy_with_logits(x, y, weight=w, pos_weight=p)",
        SAME,
        {**BINARY[0], **BINARY_WEIGHTS},
    ),
    layer("nn.BCEWithLogitsLoss(weight=w, pos_weight=p)", "layer(x, y)", {**BINARY[0], **BINARY_WEIGHTS}),
]
