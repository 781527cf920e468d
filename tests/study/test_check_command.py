"""`tinygrad-nlp check`: 0 for right, 1 for wrong with a diagnosis, 2 with one sentence where there is no verdict."""

import pytest

from tinygrad_nlp.cli import main

FUNCTIONS = """
import numpy as np
import tinygrad_nlp as tn
from tinygrad_nlp import primitive

rng = np.random.default_rng(0)


def cube(x):
    return x * x * x


@primitive(broadcasts=True)
def wrong(x):
    return x * x


@wrong.vjp("x")
def _(g, x):
    return 3 * g * x


@primitive()
def its_rule_writes(x):
    return 2 * x


@its_rule_writes.vjp("x")
def _(g):
    if isinstance(g, np.ndarray):
        g *= 2
        return g
    return 2 * g


@primitive()
def its_rule_gives_nan(x):
    return 2 * x


its_rule_gives_nan.vjp("x")(lambda g: g * np.nan)


@primitive()
def its_rule_sums(x):
    return 2 * x


its_rule_sums.vjp("x")(lambda g: (2 * g).sum())


def outer(a, b, *, scale=1.0, mode="plain"):
    assert mode in ("plain", "tanh")
    y = tn.expand_dims(a, axis=1) * b * scale
    return tn.tanh(y) if mode == "tanh" else y


def random(x):
    return x * float(rng.random())


def writes(x):
    x.data[...] *= 2
    return x * 1.0


def float32(x):
    return tn.astype(x, tn.float32)


def array(x):
    return 2 * x.data


def number(x):
    return 3.0


def nothing(x):
    return None


def logarithm(x):
    return tn.log(-tn.abs(x))


def kink(x):
    return tn.abs(x - x.data)


def raises(x):
    raise KeyError("what is this")


def grows(x):
    return tn.concat([x] * (1 + int(x.data.reshape(-1)[0] != start)))


start = None


class Doubles:
    def __call__(self, x):
        return 2 * x


doubles = Doubles()
five = 5
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    (tmp_path / "broken.py").write_text("1 / 0\n")

    def run(*arguments):
        status = main(["check", *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return status, out, err

    return run


def no_verdict(check, *arguments):
    """The one sentence on stderr."""
    status, out, err = check(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("tinygrad-nlp: ")
    assert err.count("\n") == 1
    return err


RIGHT = {
    "a function of the package": "tinygrad_nlp:layer_norm --shape 4,8 --shape 8 --shape 8",
    "of a file": "mine.py:cube --shape 3,4 --order 3",
    "an object": "mine.py:doubles --shape 3 --linear",
    "a method": "mine.py:doubles.__call__ --shape 3",
    "settings": "mine.py:outer --shape 3 --shape 2 --set scale=0.5 --set mode=tanh",
    "a scalar": "mine.py:cube --shape scalar",
    "indices": "tinygrad_nlp:embedding --shape 5,3 --shape 6@5",
    "a kink that is declared": "tinygrad_nlp:relu --shape 9 --values kinks --kinks zero",
    "complex steps": "tinygrad_nlp:tanh --shape 3 --oracle complex",
    "float32": "mine.py:cube --shape 3 --dtype float32 --seed 3",
    "positive values": "tinygrad_nlp:log --shape 5 --values positive",
    "a tuple as setting": "tinygrad_nlp:permute_dims --shape 2,3 --linear --set axes=(1,0)",
    "one of two inputs": "mine.py:outer --shape 3 --shape 2 --linear --wrt b",
    "zero, and declared so": "tinygrad_nlp:softmax --shape 1 --vacuous",
}


@pytest.mark.parametrize("case", RIGHT)
def test_right(check, case):
    status, out, err = check(*RIGHT[case].split())
    assert (status, err) == (0, "")
    assert out.startswith("right  ")
    assert out.splitlines()[1].split() == ["argument", "order", "oracle", "error", "floor"]


def test_every_input_and_order_is_in_the_table(check):
    _, out, _ = check("mine.py:outer", "--shape", "3", "--shape", "2", "--order", "2")
    rows = [line.replace(",)", "").replace(", ", ",").split() for line in out.splitlines()[2:]]
    assert [(row[0], row[2]) for row in rows] == [("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"), ("g", "2")]


def test_wrong(check):
    status, out, err = check("mine.py:wrong", "--shape", "3,4")
    assert (status, err) == (1, "")
    assert out.startswith("WRONG  wrong: gradient of order 1 by input 0 (x) of shape (3, 4) is wrong: along a random")
    assert "it looks like: wrong by a constant factor 1.5\n" in out
    assert "a small case: x = [[1]], g = [[3]]: the rule gives [[9]], richardson [[6]]" in out


def test_nan_of_the_rule_is_wrong_where_the_derivative_is_finite(check):
    status, out, _ = check("mine.py:its_rule_gives_nan", "--shape", "2")
    assert status == 1
    assert "it is nan at [0], where richardson gives" in out
    assert "0 · ∞ inside the rule" in out


NO_VERDICT = {
    "random": ("mine.py:random --shape 3", "random: two calls with the same inputs differ in output 0, by up to"),
    "writes into its input": (
        "mine.py:writes --shape 3",
        "writes changed its input 0 of shape (3,) in place: work on a",
    ),
    "writes into its cotangent": (
        "mine.py:its_rule_writes --shape 3",
        "the backward pass changed its cotangent 0 in pl",
    ),
    "another dtype": ("mine.py:float32 --shape 3", "float32: output 0 is float32 where all inputs are float64"),
    "a gradient of another shape": (
        "mine.py:its_rule_sums --shape 3",
        "a gradient of shape () for an input of shape (3,)",
    ),
    "an array": (
        "mine.py:array --shape 3",
        "array returned an array of shape (3,), not a Tensor or a tuple of Tensors",
    ),
    "a number": ("mine.py:number --shape 3", "number returned a float, not a Tensor"),
    "nothing": (
        "mine.py:nothing --shape 3",
        "nothing returned no floating-point Tensor: no gradient (--vacuous permits)",
    ),
    "NaN": (
        "mine.py:logarithm --shape 3",
        "logarithm: output 0 holds 3 NaN of 3 values at the drawn point: draw inside",
    ),
    "a kink": (
        "tinygrad_nlp:relu --shape 9 --values kinks",
        "not differentiable at the drawn point: it has a kink there",
    ),
    "a zero gradient": (
        "tinygrad_nlp:softmax --shape 1",
        "is zero in every direction, so a rule that gives nothing would",
    ),
    "not linear": (
        "tinygrad_nlp:tanh --shape 3 --linear",
        "tanh is declared linear, but f(2v - 3x) is not 2 f(v) - 3 f(x)",
    ),
    "not analytic": ("tinygrad_nlp:abs --shape 3 --oracle complex", "so the function is not analytic"),
    "empty": (
        "tinygrad_nlp:tanh --shape 0,3",
        "all inputs or outputs are empty, nothing was compared: give larger shapes",
    ),
    "raises": ("mine.py:raises --shape 3", "check: raises raised KeyError: 'what is this'"),
    "refuses": ("tinygrad_nlp:softmax --shape 3 --set axis=7", "softmax of (3,): there is no axis 7"),
    "too few inputs": (
        "mine.py:outer --shape 3",
        "does not take what is given (missing a required argument: 'b'): give one",
    ),
    "no inputs": ("mine.py:cube", "cube(x) does not take what is given (missing a required argument: 'x')"),
    "only indices": (
        "mine.py:cube --shape 3@2",
        "no floating-point array among the inputs: nothing to differentiate by",
    ),
    "an unknown setting": ("mine.py:outer --shape 3 --shape 2 --set axis=0", "unexpected keyword argument 'axis'"),
    "no such module": (
        "missing:f --shape 3",
        "check: cannot import missing: ModuleNotFoundError: No module named 'missing'",
    ),
    "no such file": (
        "missing.py:f --shape 3",
        "check: cannot import missing.py: FileNotFoundError: there is no file miss",
    ),
    "a broken file": ("broken.py:f --shape 3", "check: cannot import broken.py: ZeroDivisionError: division by zero"),
    "no such function": ("mine.py:missing --shape 3", "check: mine.py has no missing"),
    "no function": ("mine.py:five --shape 3", "check: mine.py:five is no function"),
    "a class": ("mine.py:Doubles --shape 3", "check: mine.py:Doubles is a class: check an object of it"),
    "no colon": (
        "mine.py --shape 3",
        "check: 'mine.py' is not MODULE:FUNCTION, as tinygrad_nlp:tanh or my_functions.py:",
    ),
    "no target": ("--shape 3", "required: MODULE:FUNCTION; see tinygrad-nlp check --help"),
    "a wrong shape": (
        "mine.py:cube --shape 3,x",
        "check: --shape '3,x' is no shape: write 3,4 or scalar, 6@5 for indices",
    ),
    "a negative shape": ("mine.py:cube --shape 3,-1", "check: --shape '3,-1' is no shape"),
    "indices below 0": ("mine.py:cube --shape 3@0", "check: --shape '3@0' is no shape"),
    "a shape without a value": ("mine.py:cube --shape", "check: --shape: expected one argument"),
    "a wrong setting": ("mine.py:cube --shape 3 --set axis", "check: --set 'axis' is not NAME=VALUE, as axis=0"),
    "an unknown option": (
        "mine.py:cube --shape 3 --speed 9",
        "unrecognized arguments: --speed 9; see tinygrad-nlp check --",
    ),
    "an unknown kind of values": ("mine.py:cube --shape 3 --values nice", "check: --values: invalid choice: 'nice'"),
    "order 0": ("mine.py:cube --shape 3 --order 0", "--order 0: the first order is 1"),
    "an unknown input": ("mine.py:cube --shape 3 --wrt z", "is none of the floating-point inputs [0] (x)"),
    "adjoint, not linear": ("mine.py:cube --shape 3 --oracle adjoint", "is for linear functions: declare --linear"),
}


@pytest.mark.parametrize("case", NO_VERDICT)
def test_no_verdict(check, case):
    arguments, words = NO_VERDICT[case]
    message = no_verdict(check, *arguments.split())
    assert words in message
    assert "=True" not in message  # options have their names of the command line


def test_help(check, capsys):
    with pytest.raises(SystemExit, match="0"):
        check("--help")
    out = capsys.readouterr().out
    for words in ("usage: tinygrad-nlp check MODULE:FUNCTION", "--shape", "exit status: 0 right, 1 wrong", "--kinks"):
        assert words in out


def test_the_seed_decides_what_is_drawn(check):
    outputs = [check("mine.py:cube", "--shape", "4", "--seed", seed)[1] for seed in ("1", "1", "2")]
    assert outputs[0] == outputs[1] != outputs[2]
