"""Optimisers and clipping, on `params` and their `gradients` of each step: one text for both. And schedules."""

from __future__ import annotations

from table import Row, call
from table.draws import magnitudes, uniform

STEPS = 4
SHAPES = [(2, 3), (), (4,)]


def trained(*texts):
    """An optimiser with each text, on parameters and gradients of ordinary and of very different sizes"""
    ordinary = call(
        params=[uniform(*s) for s in SHAPES], gradients=[[uniform(*s) for s in SHAPES] for _ in range(STEPS)]
    )
    wide = [[magnitudes(5, low=1e-6, high=1e6)] for _ in range(STEPS)]
    for text in texts:
        calls = (
            [ordinary]
            if "groups" in text or "centered" in text
            else [ordinary, call(params=[uniform(5)], gradients=wide)]
        )
        yield Row(
            "optimizer",
            f"optim.{text.replace('groups', GROUPS)}",
            f"optim.{text.replace('groups', GROUPS)}",
            tuple(calls),
        )


def clipped(text, *options):
    """Clipping of the gradients of all parameters together"""
    gradients = [[uniform(*s) for s in SHAPES]]
    return Row("clipping", text, text, tuple(call(params=gradients[0], gradients=gradients, **o) for o in options))


def scheduled(ours, theirs, **options):
    """A schedule of an optimiser whose rate is `lr`"""
    return Row("schedule", f"optim.LRSchedule(optimizer, {ours})", f"optim.lr_scheduler.{theirs}", (call(**options),))


GROUPS = "[{'params': params[:1]}, {'params': params[1:], 'lr': 0.2, 'weight_decay': 0.1}]"
LINEAR = "LinearLR(optimizer, 1 / warmup, 1.0, warmup - 1)"
COSINE = "optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, end - warmup, 1, low)"

ROWS = [
    *trained(
        "SGD(params, lr=0.1)",
        "SGD(params, lr=0.1, momentum=0.9)",
        "SGD(params, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1)",
        "SGD(params, lr=0.1, momentum=0.9, nesterov=True, maximize=True)",
        "SGD(groups, lr=0.1, momentum=0.9)",
        "Adam(params, lr=0.1)",
        "Adam(params, lr=0.1, betas=(0.5, 0.7), eps=0.001, weight_decay=0.1, maximize=True)",
        "Adam(groups, lr=0.1)",
        "AdamW(params, lr=0.1)",
        "AdamW(params, lr=0.1, betas=(0.5, 0.7), eps=0.001, weight_decay=0.1)",
        "AdamW(groups, lr=0.1)",
        "Adagrad(params, lr=0.1)",
        "Adagrad(params, lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.3)",
        "RMSprop(params, lr=0.1)",
        "RMSprop(params, lr=0.1, alpha=0.7, eps=0.001, weight_decay=0.1, momentum=0.9)",
        "RMSprop(params, lr=0.1, alpha=0.7, centered=True)",
    ),
    clipped("nn.utils.clip_grad_value_(params, c)", call(c=1.0), call(c=0.0), call(c=100.0)),
    clipped(
        "nn.utils.clip_grad_norm_(params, c, p)", *(call(c=float("inf"), p=p) for p in (1.0, 2.0, 3.0, float("inf")))
    ),
    scheduled("optim.Constant(lr)", "ConstantLR(optimizer, 1.0)", lr=0.3, steps=3),
    scheduled("optim.Constant(lr, warmup)", LINEAR, lr=0.3, warmup=5, steps=8),
    scheduled(
        "optim.WarmupCosine(lr, low, warmup, end)",
        f"SequentialLR(optimizer, [optim.lr_scheduler.{LINEAR}, {COSINE}], [warmup - 1])",
        lr=0.3,
        low=0.01,
        warmup=4,
        end=12,
        steps=11,
    ),
]
