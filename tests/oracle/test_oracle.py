"""Every function, layer, loss, optimiser and schedule gives PyTorch's numbers, read from the pack: no PyTorch needed.

Two float64 numbers agree when they differ by at most ROUNDINGS times what rounding does to PyTorch's own (see
`generate.py`) and one ulp. That is some 1e-15 of the number, more where terms cancel, and nothing is set by hand.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nlp_kernels import attention, cross_entropy, embedding, layer_norm, matmul, softmax
from pack import TEXT, Case, read, write
from running import evaluate, run
from table import EXCEPTIONS, WITHOUT_GRADIENTS, numbered, rows
from table.draws import named

import tinygrad_nlp
from tinygrad_nlp import Tensor, grad, nn, ops, optim

VANISHING = 1e-150
ROUNDINGS = 16
ABOUT, CASES = read()
ROWS = rows()


class TinygradNLP:
    """This library, as `running` uses it."""

    names = vars(tinygrad_nlp) | {"nn": nn, "optim": optim}

    def leaf(self, array):
        return Tensor(array.copy(), requires_grad=True)  # optimisers write in place

    def constant(self, array):
        return Tensor(array.copy())

    def numbers(self, x):
        return x.detach().numpy()

    def in_float64(self, module):
        return module.to(dtype="float64")

    def pull_back(self, outputs, cotangents, inputs):
        return grad(outputs, inputs, cotangents, allow_unused=True)


def disagreements(case: Case, library: TinygradNLP | None = None, roundings: float = ROUNDINGS) -> list[str]:
    """One line for each result that is not PyTorch's."""
    library = library or TinygradNLP()
    results = run(case.kind, case.ours, case.then, library, case.arguments, lambda name, *_: case.arrays[name])
    if set(results) != set(case.results):
        return [f"{case.name}: results {sorted(results)}, PyTorch's are {sorted(case.results)}"]
    return [line for name in results for line in differences(case, name, results[name], roundings)]


def differences(case: Case, name: str, ours: np.ndarray, roundings: float = ROUNDINGS) -> list[str]:
    """The worst element of a result, if it is not PyTorch's."""
    theirs, where = case.results[name], f"{case.name}: {name} of {case.ours} {case.then}"
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return [f"{where} is {ours.dtype} {ours.shape}, PyTorch's {theirs.dtype} {theirs.shape}"]
    equal = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    if ours.dtype.kind == "f":  # where PyTorch's erf has long rounded to 1, or a number has lost digits to underflow
        equal |= np.maximum(np.abs(ours), np.abs(theirs)) < VANISHING
    if equal.all():
        return []
    with np.errstate(invalid="ignore", divide="ignore"):
        times = np.where(equal, 0.0, np.abs(ours - theirs) / rounding(case, name))
    if np.all(times <= roundings):
        return []
    i = np.unravel_index(np.argmax(times), times.shape)
    return [f"{where}, at {tuple(map(int, i))}: {ours[i]!r}, PyTorch's {theirs[i]!r}, {times[i]:.3g} roundings away"]


def rounding(case: Case, name: str) -> np.ndarray:
    """By how much one rounding may move each number; integers do not move."""
    theirs = case.results[name]
    if theirs.dtype.kind != "f":
        return np.zeros(theirs.shape)
    with np.errstate(invalid="ignore"):
        return case.rounding.get(name, 0.0) + np.spacing(np.abs(theirs))


@pytest.mark.parametrize("name", list(dict.fromkeys(case.row for case in CASES)))
def test_pytorch_agrees(name):
    wrong = [line for case in CASES if case.row == name for line in disagreements(case)]
    assert not wrong, "\n".join(wrong)


def test_the_pack_is_the_tables():
    """The same expressions with the same arguments, in the same order; `generate.py` brings it up to date."""
    table = [
        (name, row.kind, row.ours, row.theirs, row.then, named(arguments, {}))
        for name, row, arguments in numbered(ROWS)
    ]
    assert [(*(getattr(case, key) for key in TEXT), case.arguments) for case in CASES] == table


def test_everything_differentiable_is_compared():
    """Functions (but those that make arrays or compare), layers, losses, optimisers, clipping and schedules."""
    compared = {id(evaluate(name, TinygradNLP(), {})) for row in ROWS for name in row.called}
    assert {name for name, x in public().items() if id(x) not in compared} == set(EXCEPTIONS)


def public() -> dict[str, object]:
    """What the library offers to differentiate or to train with, by name."""
    functions = {name: f for name in tinygrad_nlp.__all__ if inspect.isfunction(f := getattr(ops, name, None))}
    functional = {name: f for name, f in vars(nn.functional).items() if inspect.isfunction(f) and name[0] != "_"}
    layers = {name: x for name in nn.__all__ if inspect.isclass(x := getattr(nn, name)) and issubclass(x, nn.Module)}
    return {
        **{name: f for name, f in functions.items() if f.__module__ not in WITHOUT_GRADIENTS},
        **{f"nn.functional.{n}": f for n, f in functional.items() if f.__annotations__.get("return") == "Tensor"},
        **{f"nn.{name}": x for name, x in layers.items() if x is not nn.Module},
        **{f"optim.{name}": getattr(optim, name) for name in optim.__all__ if name != "Optimizer"},
    }


def test_a_change_in_the_ninth_digit_is_refused():
    """No tolerance is so wide that it tests nothing, but where terms cancel to nothing and in float32."""
    for case in CASES:
        nothing = 1e-12 * max([np.abs(x).max(initial=0) for x in case.arrays.values()], default=0)
        for name, x in case.results.items():
            change = 1e-9 * x if x.dtype.kind == "f" else 1
            if x.dtype != np.float32 and np.abs(x[np.isfinite(x)]).max(initial=0) > nothing:
                assert differences(case, name, x + change), f"{case.name}: {name}"


RULES = [
    (ops.multiply, "b", lambda g, a: g * a * (1 + 1e-12)),
    (ops.tanh, "x", lambda g, x: g * (1 - x * x)),
    (ops.relu, "x", lambda g, x: g * (x > -1)),
    (ops.logsumexp, "x", lambda g, x: g.sum() + 0 * x),
    (ops.matmul, "b", lambda g, b_shape: np.full(b_shape, g.sum())),
    (ops.broadcast_to, "x", lambda g, x_shape: np.full(x_shape, g.sum())),
]
KERNELS = [
    (softmax, "- xp.sum(dy * p, axis=-1, keepdims=True)", ""),
    (layer_norm, "dhhat - row_mean(dhhat)", "dhhat"),
    (layer_norm, "(var + eps) ** -0.5", "var**-0.5 + eps"),
    (cross_entropy, "xp.where(target != ignore_index, dloss, 0.0)", "dloss"),
    (cross_entropy, "q = (1 - eps) *", "q = "),
    (
        matmul,
        "activate_backward(dy, saved",
        "activate_backward(dy, saved if saved is None else activate(saved, activation)",
    ),
    (attention, "dk = c *", "dk ="),
    (embedding, "if padding_idx is not None", "if False"),
    (embedding, "scatter_add(dy, indices,", "scatter_add(dy * (1 + 1e-12), indices,"),
]


@pytest.mark.parametrize(("function", "input_name", "wrong"), RULES, ids=lambda x: getattr(x, "__name__", None))
def test_a_wrong_rule_is_found(function, input_name, wrong):
    right = function.primitive._rules[input_name][0]
    assert not found(function.__name__)
    function.vjp(input_name)(wrong)
    try:
        assert found(function.__name__)
    finally:
        function.vjp(input_name)(right)
    assert not found(function.__name__)


@pytest.mark.parametrize(("kernel", "right", "wrong"), KERNELS, ids=lambda x: getattr(x, "__name__", x))
def test_a_wrong_kernel_is_found(kernel, right, wrong, monkeypatch):
    name = kernel.__name__.rpartition(".")[2].replace("matmul", "linear")
    text = Path(kernel.reference.__file__).read_text()
    assert right in text
    exec(text.replace(right, wrong), mutant := {"__name__": "mutant"})
    assert not found(name)
    for each in ("forward", "backward"):
        monkeypatch.setattr(kernel, each, mutant[each])
    assert found(name)


def found(name: str) -> list[str]:
    """What the pack holds against the functions of one name."""
    with np.errstate(all="ignore"):
        return [line for case in CASES if case.row == name for line in disagreements(case)]


def test_no_pytorch_is_needed():
    """All comparisons, in a process where importing PyTorch fails."""
    program = "import sys; sys.modules['torch'] = None; from test_oracle import *\n"
    program += "wrong = [line for case in CASES for line in disagreements(case)]; sys.exit(1 if wrong else 0)"
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_generator_draws_the_pack_again():
    """Some of the cases: the same bytes twice, the pack's arguments, and the pack's results but for rounding."""
    torch = pytest.importorskip("torch")
    from generate import computed

    some = list(numbered(ROWS))[::40]
    cases, again = ([computed(*call) for call in some] for _ in range(2))
    assert write({}, cases) == write({}, again)
    if (ABOUT["torch"], ABOUT["numpy"]) != (torch.__version__, np.__version__):
        pytest.skip(f"the pack is of PyTorch {ABOUT['torch']} and NumPy {ABOUT['numpy']}")
    packed = {case.name: case for case in CASES}
    for case in cases:
        for name, x in case.arrays.items():
            np.testing.assert_array_equal(x, packed[case.name].arrays[name])
        for name, x in case.results.items():
            assert not differences(packed[case.name], name, x)
