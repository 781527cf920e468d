"""A dataclass field is a command line option: same name, default, range and help."""

import argparse
import math
from dataclasses import dataclass

import pytest
from nlp_kernels.errors import UserError

from tinygrad_nlp.train.options import Options, add_options, given, option


@dataclass(frozen=True)
class Config(Options):
    inner_size: int
    n_layer: int = option(4, "blocks, 100% of them", flag="--layers", low=1)
    rate: float = option(0.1, "the rate", low=0, high=1)
    note: str | None = option(None, "a note", kind=str)
    dtype: str = option("float32", "the type", choices=("float32", "float64"))


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser, Config)
    return parser


def test_only_what_was_given_is_there(parser):
    assert given(parser.parse_args([]), Config) == {}
    arguments = parser.parse_args(["--layers", "2", "--rate=1e-3", "--note", "hi", "--dtype", "float64"])
    assert given(arguments, Config) == {"n_layer": 2, "rate": 1e-3, "note": "hi", "dtype": "float64"}


def test_help_shows_what_each_option_is_and_its_default(parser):
    shown = " ".join(parser.format_help().split())
    assert "--layers N blocks, 100% of them (default: 4)" in shown
    assert "--rate X the rate (default: 0.1)" in shown
    assert "a note" in shown
    assert "None" not in shown
    assert "inner" not in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--layers", "0"], "expected a whole number of at least 1, not '0'"),
        (["--layers", "2.5"], "expected a whole number of at least 1, not '2.5'"),
        (["--layers", "many"], "expected a whole number of at least 1, not 'many'"),
        (["--rate", "2"], "expected a number from 0 to 1, not '2'"),
        (["--rate", "nan"], "expected a number from 0 to 1, not 'nan'"),
        (["--rate", "inf"], "expected a number from 0 to 1, not 'inf'"),
    ],
)
def test_a_value_outside_the_range_is_refused(parser, line, message):
    with pytest.raises(argparse.ArgumentError) as refusal:
        parser.parse_args(line)
    assert message in str(refusal.value)


def test_the_class_itself_refuses_the_same_values():
    assert Config(3).n_layer == 4
    with pytest.raises(UserError, match=r"Config\.n_layer \(--layers\) must be a whole number of at least 1, not 0"):
        Config(3, n_layer=0)
    with pytest.raises(UserError, match=r"--rate"):
        Config(3, rate=math.nan)
