"""Mistakes get an answer: the function, the shapes or dtypes, in one of the library's error classes."""

from __future__ import annotations

import re

import documentation
import numpy as np
import pytest
from mistakes import MISTAKES

import tinygrad_nlp as tn
from tinygrad_nlp import DeviceError, DtypeError, ShapeError, Tensor, ops

X = np.ones((2, 3))
OTHER = np.ones((4, 5))
FLAG = np.ones((2, 3), bool)

SHAPES = {  # calls whose shapes do not fit, and what the message must name besides the function
    "add": lambda: tn.add(X, OTHER),
    "pow": lambda: tn.pow(X, OTHER),
    "maximum": lambda: tn.maximum(X, OTHER),
    "where": lambda: tn.where(FLAG, X, OTHER),
    "clip": lambda: tn.clip(X, OTHER, None),
    "less": lambda: tn.less(X, OTHER),
    "logical_and": lambda: tn.logical_and(FLAG, OTHER > 0),
    "matmul": lambda: tn.matmul(X, OTHER),
    "vecdot": lambda: tn.vecdot(X, OTHER),
    "tensordot": lambda: tn.tensordot(X, OTHER, axes=1),
    "outer": lambda: tn.outer(X, OTHER),
    "reshape": lambda: tn.reshape(X, (4, 5)),
    "broadcast_to": lambda: tn.broadcast_to(X, (4, 5)),
    "broadcast_arrays": lambda: tn.broadcast_arrays(X, OTHER),
    "concat": lambda: tn.concat([X, OTHER]),
    "stack": lambda: tn.stack([X, OTHER]),
    "linear": lambda: tn.linear(X, OTHER),
    "softmax": lambda: tn.softmax(X, keep=OTHER > 0),
    "cross_entropy": lambda: tn.cross_entropy(X, np.ones((4, 5), int)),
    "layer_norm": lambda: tn.layer_norm(X, X[0], X[0], OTHER),
}
AXES = {  # calls with an axis that is not there
    "sum": lambda axis: tn.sum(X, axis=axis),
    "prod": lambda axis: tn.prod(X, axis=axis),
    "max": lambda axis: tn.max(X, axis=axis),
    "mean": lambda axis: tn.mean(X, axis=axis),
    "logsumexp": lambda axis: tn.logsumexp(X, axis=axis),
    "cumulative_sum": lambda axis: tn.cumulative_sum(X, axis=axis),
    "argmax": lambda axis: tn.argmax(X, axis=axis),
    "argsort": lambda axis: tn.argsort(X, axis=axis, descending=True),
    "permute_dims": lambda axis: tn.permute_dims(X, (0, axis)),
    "moveaxis": lambda axis: tn.moveaxis(X, axis, 0),
    "expand_dims": lambda axis: tn.expand_dims(X, axis=2 * axis),
    "squeeze": lambda axis: tn.squeeze(X, axis),
    "flip": lambda axis: tn.flip(X, axis=axis),
    "roll": lambda axis: tn.roll(X, 1, axis=axis),
    "unstack": lambda axis: tn.unstack(X, axis=axis),
    "concat": lambda axis: tn.concat([X, X], axis=axis),
    "stack": lambda axis: tn.stack([X, X], axis=2 * axis),
    "softmax": lambda axis: tn.softmax(X, axis=axis),
    "log_softmax": lambda axis: tn.log_softmax(X, axis=axis),
    "take": lambda axis: tn.take(X, [0], axis=axis),
    "take_along_axis": lambda axis: tn.take_along_axis(X, np.zeros((1, 1), int), axis=axis),
    "repeat": lambda axis: tn.repeat(X, 2, axis=axis),
    "tensordot": lambda axis: tn.tensordot(X, X, axes=([axis], [0])),
}
INDICES = {  # calls with an index that is not there
    "getitem": lambda i: Tensor(X)[:, i],
    "take": lambda i: tn.take(X, [0, i], axis=1),
    "take_along_axis": lambda i: tn.take_along_axis(X, np.asarray([[i], [0]]), axis=1),
    "scatter_add": lambda i: tn.scatter_add(X, [0, i], 3),
    "embedding": lambda i: tn.embedding(X.T, [0, i]),
    "cross_entropy": lambda i: tn.cross_entropy(X, [0, i]),
}


@documentation.each(MISTAKES)
def test_a_mistake_raises_what_the_docstring_says(name, error, call):
    """Functions of ops name themselves, but where a graph would be cut."""
    message = documentation.message_of(error, call)
    assert name not in ops.names or error is RuntimeError or message.startswith(name)


@pytest.mark.parametrize("name", SHAPES)
def test_both_shapes_and_the_function_are_named(name):
    with pytest.raises(ShapeError) as caught:
        SHAPES[name]()
    message = str(caught.value)
    assert re.match(rf"{name}\b", message)
    assert "(2, 3)" in message
    assert "(4, 5)" in message


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("axis", [2, 5, -3])
def test_an_axis_that_is_not_there(name, axis):
    with pytest.raises(ShapeError, match=rf"^{name}\b.*\b(axis|axes)\b") as caught:
        AXES[name](axis)
    assert "(2, 3)" in str(caught.value)


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("index", [3, -4, 100])
def test_an_index_that_is_not_there(name, index):
    with pytest.raises(IndexError, match=rf"^{name}\b") as caught:
        INDICES[name](index)
    message = str(caught.value)
    assert str(index) in message
    assert re.search(r"size 3|3 rows", message)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tn.take(X, [0.5], axis=0), "take: indices are float32, expected integers"),
        (lambda: tn.take(X, FLAG[0], axis=0), "take: indices are bool"),
        (lambda: tn.take_along_axis(X, X, axis=0), "take_along_axis: indices are float64"),
        (lambda: tn.scatter_add(X, X[0], 3), "scatter_add: indices are float64"),
        (lambda: tn.softmax(np.ones((2, 3), int)), "softmax.forward: x is int64"),
        (lambda: tn.softmax(X, keep=X), "keep is float64, expected bool"),
        (lambda: tn.embedding(X, X[0]), "embedding.forward: indices is float64"),
        (lambda: tn.cross_entropy(X, X[:, 0]), "cross_entropy.forward: target is float64"),
        (lambda: tn.bitwise_and(X, X), "bitwise_and of float64, float64"),
        (lambda: tn.negative(FLAG), "negative of bool: .*boolean"),
        (lambda: tn.add(X, "a"), "add: "),
        (lambda: tn.exp("a"), "cannot make a Tensor of str"),
        (lambda: tn.astype(X, "nonsense"), "astype of float64, str: .*nonsense"),
    ],
)
def test_a_wrong_dtype(call, message):
    with pytest.raises(DtypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tn.take(X, [0]), ShapeError, r"take.*\(2, 3\) needs axis="),
        (lambda: tn.cumulative_sum(X), ShapeError, r"cumulative_sum of \(2, 3\)"),
        (lambda: tn.max(np.ones((0, 3)), axis=0), ShapeError, r"max of \(0, 3\): zero-size"),
        (lambda: tn.matrix_transpose(X[0]), ShapeError, r"matrix_transpose of \(3,\)"),
        (lambda: tn.squeeze(X, 0), ShapeError, r"squeeze of \(2, 3\), 0"),
        (lambda: tn.sum(X, axis=(0, 0)), ShapeError, r"sum of \(2, 3\): duplicate"),
        (lambda: tn.tensordot(X[:, :2], X[:, :2], axes=3), ShapeError, r"tensordot of \(2, 2\) and \(2, 2\)"),
        (lambda: tn.tensordot(X[:, :2], X[:, :2], axes=([0, 0], [0, 1])), ShapeError, "do not pair up"),
        (lambda: tn.repeat(X, [1, 2], axis=1), ShapeError, r"repeat of \(2, 3\) along axis 1"),
        (lambda: tn.scatter_add(X, [0], 3), ShapeError, r"updates \(2, 3\).*indices \(1,\)"),
        (lambda: tn.layer_norm(1.0, 1.0, 1.0), ShapeError, "layer_norm needs at least one axis"),
        (lambda: tn.layer_norm(X, X[0, :2], X[0]), ShapeError, r"gamma has shape \(2,\), expected \(3,\)"),
        (lambda: tn.attention(X, X, X), ShapeError, r"attention: q \(2, 3\), .* must be \(B, H, T, D\)"),
        (lambda: tn.linear(X, X, X[0]), ShapeError, r"b has shape \(3,\), expected \(2,\)"),
        (lambda: tn.concat([]), ValueError, "concat needs at least one array"),
        (lambda: tn.stack([]), ValueError, "stack needs at least one array"),
        (lambda: tn.dropout(X, 1.5), ValueError, r"dropout: p must be in \[0, 1\], got 1.5"),
        (lambda: tn.attention(*[X[None, None]] * 3, dropout=1.0), ValueError, "dropout must be in"),
        (lambda: tn.softmax(X, temperature=0.0), ValueError, "temperature is 0.0, expected a positive number"),
        (lambda: tn.linear(X, X, activation="swish"), ValueError, "unknown activation 'swish'; there are none, relu"),
        (lambda: tn.to_device(X, "tpu"), DeviceError, "unknown device 'tpu'"),
        (lambda: Tensor(X)[1.5], IndexError, "getitem: only integers"),
        (lambda: Tensor(X)[0, 0, 0], IndexError, "getitem: too many indices"),
    ],
)
def test_what_a_message_says(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_message_names_the_function_once():
    with pytest.raises(IndexError) as caught:
        tn.scatter_add(X, [0, 5], 3)
    assert str(caught.value).count("scatter_add") == 1


@pytest.mark.parametrize(
    ("call", "operand"),
    [
        (lambda x, y: tn.concat([y, x]), r"concat: its operand arrays\[1\]"),
        (lambda x, y: tn.stack([x, y]), r"stack: its operand arrays\[0\]"),
        (lambda x, y: tn.unstack(x), "unstack: its operand x"),
        (lambda x, y: x[0], "getitem: its operand x"),
        (lambda x, y: tn.linear(y, x), "matmul: its operand w"),
        (lambda x, y: tn.softmax(x, axis=1), "softmax: its operand x"),
        (lambda x, y: tn.exp(x), "exp: its operand x"),
    ],
)
def test_anomaly_mode_names_function_and_operand(call, operand):
    x = Tensor(np.where(np.eye(3)[:2] > 0, np.nan, 1.0), requires_grad=True)
    with tn.detect_anomaly(), pytest.raises(tn.AnomalyError, match=rf"{operand} already holds .* NaN.*{__name__}"):
        call(x, Tensor(X, requires_grad=True))


def test_anomaly_mode_names_the_operand_of_a_wrong_gradient():
    x, y = (Tensor(X, requires_grad=True) for _ in range(2))
    g = np.where(np.arange(12).reshape(4, 3) == 7, np.nan, 1.0)
    with tn.detect_anomaly():
        z = tn.concat([x, y])
        with pytest.raises(tn.AnomalyError, match=rf"concat: the gradient of its operand arrays\[1\].*{__name__}"):
            z.backward(g)
