"""Devices: what tensors, layers, optimisers and files do on CuPy arrays, of its stand-in or of a GPU."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from standin import needs_simulator

import tinygrad_nlp as tn
from tinygrad_nlp import DeviceError, Tensor, nn, optim
from tinygrad_nlp.autograd import devices
from tinygrad_nlp.random import Generator
from tinygrad_nlp.train.checkpoint import load_checkpoint, save_checkpoint

RNG = np.random.default_rng(0)


@pytest.fixture
def machine(standin_cupy):
    return sys.modules["cupy._machine"].machine


@pytest.fixture
def readable():
    """The readable references, which are quick: kernels in the simulator have tests of their own."""
    with tn.use_backend("reference"):
        yield


def test_nothing_imports_cupy_before_it_is_asked_for():
    program = "import sys, tinygrad_nlp.models.gpt, tinygrad_nlp.cli; "
    program += "sys.exit(any(name.startswith('cupy') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_to_and_back(any_cupy):
    x = Tensor([[1.5, -2.0]], requires_grad=True)
    y = x.to("cuda")
    assert (x.device, y.device) == ("cpu", "cuda:0")
    assert y.to("cuda") is y is y.to("cuda:0")
    (dx,) = tn.grad(y * 2, x, Tensor([[3.0, 4.0]]).to("cuda"))
    assert dx.device == "cpu"
    assert dx.tolist() == [[6.0, 8.0]]
    z = y.detach().to("cuda", "float64").to("cpu")
    assert z.dtype == np.float64
    assert z.tolist() == [[1.5, -2.0]]
    assert y.detach().numpy().tolist() == y.tolist() == [[1.5, -2.0]]
    assert Tensor([3.0]).to("cuda").item() == 3.0
    assert float(Tensor(2.5).to("cuda")) == 2.5
    assert int(Tensor(2).to("cuda")) == 2
    assert [1, 2, 3][Tensor(2).to("cuda")] == 3


def test_creation(any_cupy):
    made = [
        *(tn.zeros(2, device="cuda"), tn.ones((2, 3), device="cuda:0"), tn.full(2, 7, device="cuda")),
        *(tn.arange(3, device="cuda"), tn.linspace(0, 1, 3, device="cuda"), tn.empty(2, device="cuda")),
        *(tn.eye(2, device="cuda"), tn.asarray([1.0], device="cuda"), tn.zeros_like([1.0], device="cuda")),
        tn.full_like(tn.ones(2, device="cuda"), 3),
        tn.astype([1], "float32", device="cuda"),
        nn.Parameter(any_cupy.ones(2)),
    ]
    assert {x.device for x in made} == {"cuda:0"}
    assert {x.dtype for x in made} == {np.dtype(np.float32), np.dtype(np.int64)} | {np.dtype(np.float64)}
    assert tn.__array_namespace_info__().devices()[:2] == ["cpu", "cuda:0"]


def test_a_second_gpu(machine):
    x = tn.ones(2, device="cuda:1")
    assert (x + x).device == "cuda:1"
    y = tn.ones(2, device="cuda:0")
    with pytest.raises(DeviceError, match=r"^add of \(2,\) on cuda:1, \(2,\) on cuda:0: move them to one device"):
        x + y
    assert (x.to("cuda:0") + y).tolist() == [2, 2]


def test_printing(any_cupy):
    assert repr(tn.ones(2, device="cuda")) == "Tensor([1., 1.], device='cuda:0')"
    assert f"{Tensor(1.5).to('cuda'):.2f}" == "1.50"
    assert repr(nn.Linear(2, 1).to("cuda")) == repr(nn.Linear(2, 1))


def test_copies(any_cupy):
    x = Tensor([1.0, 2.0], requires_grad=True)
    x = Tensor(x.to("cuda").data, requires_grad=True)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.device == "cuda:0"
        assert y.requires_grad
        y.data[0] = 7
        assert x.tolist() == [1.0, 2.0]


def test_numbers_lists_and_scalars_beside_a_gpu(any_cupy):
    x = Tensor([1.0, 2.0]).to("cuda")
    for y in (x + 1, 1 + x, x * np.float32(2), np.float64(2) * x, 2**x, x / np.int64(2)):
        assert (y.device, y.dtype) == ("cuda:0", np.float32)
    x[0] = 5
    x[1:] = Tensor([6.0]).to("cuda")
    x += 1
    assert x.tolist() == [6.0, 7.0]
    assert x[np.array([1, 1])].tolist() == x[[1, 1]].tolist() == x[Tensor([1, 1])].tolist() == [7.0, 7.0]
    assert x[x > 6].tolist() == [7.0]


MIXED = {
    "add of (2, 2) on cuda:0, (2, 2) on cpu": lambda x, y: x + y,
    "add of (2, 2) on cpu, (2, 2) on cuda:0": lambda x, y: y + x,
    "matmul of (2, 2) on cuda:0, (2, 2) on cpu": lambda x, y: tn.matmul(x, y),
    "linear: matmul: x is on cpu and w on cuda:0": lambda x, y: tn.linear(y, x),
    "layer_norm: x is on cuda:0 and gamma on cpu": lambda x, y: tn.layer_norm(x, y[0], y[0]),
    "attention: q is on cuda:0 and v on cpu": lambda x, y: tn.attention(x[None, None], x[None, None], y[None, None]),
    "concat of (2, 2) on cuda:0, (2, 2) on cpu": lambda x, y: tn.concat([x, y]),
    "stack of (2, 2) on cpu, (2, 2) on cuda:0": lambda x, y: tn.stack([y, x]),
    "where of (2, 2) on cuda:0, (2, 2) on cuda:0, (2, 2) on cpu": lambda x, y: tn.where(x > 0, x, y),
    "maximum of (2, 2) on cuda:0, (2, 2) on cpu": lambda x, y: tn.maximum(x, y),
    "less of (2, 2) on cuda:0, (2, 2) on cpu": lambda x, y: x < y,
    "a cotangent on cpu for an output on cuda:0": lambda x, y: tn.grad(x.requires_grad_() * 2, x, y),
    "mse_loss: subtract of (2, 2) on cuda:0, (2, 2) on cpu": lambda x, y: nn.functional.mse_loss(x, y),
}  # fmt: skip


@pytest.mark.parametrize("message", MIXED)
def test_mixed_devices_are_named(message, any_cupy):
    x, y = (Tensor(RNG.normal(size=(2, 2))) for _ in range(2))
    with pytest.raises(DeviceError) as told:
        MIXED[message](x.to("cuda"), y)
    assert message in str(told.value)


def test_indices_targets_lengths_and_masks_may_stay_on_the_host(any_cupy, readable):
    table, x = Tensor(RNG.normal(size=(4, 3))).to("cuda"), Tensor(RNG.normal(size=(2, 3))).to("cuda")
    q = Tensor(RNG.normal(size=(2, 1, 3, 2))).to("cuda")
    keep, lengths = RNG.random((3, 3)) < 0.7, np.array([2, 3])
    sequence = Tensor(RNG.normal(size=(3, 2, 2))).to("cuda")
    rnn = nn.GRU(2, 2).to("cuda", "float64")
    for host, device in (
        (np.asarray, lambda i: Tensor(i).to("cuda")),
        (lambda i: np.asarray(i).tolist(), Tensor),
    ):
        for f in (
            lambda as_: tn.embedding(table, as_([1, 3])),
            lambda as_: tn.take(table, as_([0, -1]), axis=0),
            lambda as_: tn.cross_entropy(x, as_([2, 0])),
            lambda as_: nn.functional.cross_entropy(x, as_([2, -100])),
            lambda as_: nn.functional.nll_loss(x, as_([2, 0]), as_([0.5, 1.0, 2.0])),
            lambda as_: tn.attention(q, q, q, as_(keep), as_(lengths)),
            lambda as_: tn.softmax(x, keep=as_([True, False, True])),
            lambda as_: rnn(sequence, lengths=as_(lengths))[0],
        ):
            y, z = f(host), f(device)
            assert y.device == z.device == "cuda:0"
            np.testing.assert_array_equal(y.tolist(), z.tolist())


def test_indices_out_of_range(any_cupy, readable):
    """Looked at while the host has them; on the GPU only in anomaly mode."""
    table, far = tn.ones((4, 3), device="cuda"), [1, 4]
    with pytest.raises(IndexError, match="embedding: indices contains 4, out of range for size 4"):
        tn.embedding(table, far)
    with pytest.raises(IndexError, match="cross_entropy: target contains 4, out of range for size 3"):
        tn.cross_entropy(table[:2], far)
    there = Tensor(far).to("cuda")
    assert tn.embedding(table, there).shape == (2, 3)
    with tn.detect_anomaly(), pytest.raises(IndexError, match="embedding: indices contains 4"):
        tn.embedding(table, there)


def test_anomaly_mode(any_cupy):
    x = Tensor([1.0, 0.0]).to("cuda").requires_grad_()
    with tn.detect_anomaly(), pytest.raises(tn.AnomalyError, match=r"log: .*Inf among 2 values, from .*\[0, 1\]"):
        tn.log(x)


@needs_simulator()
def test_random_numbers_and_masks_are_the_cpus(any_cupy, readable):
    x = RNG.normal(size=(5, 7)).astype(np.float32)
    for p in (0.3, 1.0):
        here, there = (tn.dropout(Tensor(x).to(d), p, generator=Generator(3)) for d in ("cpu", "cuda"))
        assert there.device == "cuda:0"
        np.testing.assert_array_equal(there.tolist(), here.tolist())
    q = RNG.normal(size=(1, 2, 3, 4))
    here, there = (tn.attention(*[Tensor(q).to(d)] * 3, dropout=0.5, generator=Generator(3)) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(there.tolist(), here.tolist())
    for init in (nn.init.normal_, nn.init.xavier_uniform_, nn.init.orthogonal_):
        here, there = (init(tn.zeros((4, 3), device=d), generator=Generator(3)).tolist() for d in ("cpu", "cuda"))
        assert here == there


def test_modules_move_with_gradients_and_buffers(any_cupy, readable):
    layer = nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    layer.register_buffer("seen", tn.zeros(2, dtype=tn.int64))
    ids, g = np.array([1, 4, 1]), RNG.normal(size=(3, 2)).astype(np.float32)
    y = layer(ids)
    y.backward(g)
    before = {name: (p.tolist(), p.grad.tolist()) for name, p in layer.named_parameters()}
    assert layer.to("cuda") is layer
    assert {x.device for x in (*layer.parameters(), *layer.buffers())} == {"cuda:0"}
    assert {name: (p.tolist(), p.grad.tolist()) for name, p in layer.named_parameters()} == before
    again = layer(ids)
    np.testing.assert_allclose(again.tolist(), y.tolist(), rtol=1e-6)
    layer.zero_grad()
    again.backward(g)
    for name, p in layer.named_parameters():
        assert p.grad.device == "cuda:0"
        np.testing.assert_allclose(p.grad.tolist(), before[name][1], rtol=1e-5, atol=1e-6)
    assert type(layer.state_dict()["0.weight"]) is np.ndarray
    other = nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    other.register_buffer("seen", tn.zeros(2, dtype=tn.int64))
    for state in (layer.state_dict(), dict(layer._saved())):
        other.load_state_dict(state)
        assert other.to("cpu").state_dict()["2.weight"].tolist() == layer.state_dict()["2.weight"].tolist()
        layer.load_state_dict(other.state_dict())


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop"])
def test_optimisers_keep_their_state_where_the_parameters_are(name, any_cupy, readable):
    shapes = [(3, 2), (2,), ()]
    values, grads = ([RNG.normal(size=s) for s in shapes] for _ in range(2))
    trained = {}
    for device in ("cpu", "cuda:0"):
        params = [Tensor(v.copy()).to(device).requires_grad_() for v in values]
        optimizer = getattr(optim, name)(params, lr=0.1)
        for _ in range(3):
            for p, g in zip(params, grads, strict=True):
                p.grad = Tensor(g * 3).to(device)
            norm = nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
        state = optimizer.state_dict()
        assert all(type(v) is int or type(v) is np.ndarray for s in state["state"].values() for v in s.values())
        trained[device] = norm, [p.tolist() for p in params], state
        optimizer.load_state_dict(state)
        devices_of = {devices.device_of(v) for s in optimizer.state.values() for v in s.values() if type(v) is not int}
        assert devices_of <= {device}
    here, there = trained["cpu"], trained["cuda:0"]
    np.testing.assert_allclose(there[0], here[0])
    for a, b in zip(there[1], here[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_checkpoints_hold_the_same_bits_from_anywhere(any_cupy, tmp_path):
    layer = nn.Linear(3, 2)
    optimizer = optim.AdamW(layer.parameters())
    for device in ("cpu", "cuda", "cpu"):
        layer.to(device)
        state = {"model": layer.state_dict(), "optimizer": optimizer.state_dict()}
        save_checkpoint(tmp_path / "checkpoint.safetensors", state)
        loaded = load_checkpoint(tmp_path)
        assert all(loaded["model"][k].tobytes() == v.tobytes() for k, v in state["model"].items())
        layer.load_state_dict(loaded["model"])
        assert layer.state_dict()["weight"].tobytes() == loaded["model"]["weight"].tobytes()


CONSTANTS = {  # what is not differentiated, on numbers, pairs of numbers and whole numbers
    "x": "ceil floor isfinite isinf isnan logical_not round sign signbit trunc imag any all argmax argmin "
    "count_nonzero nonzero argsort unique_all unique_counts unique_inverse unique_values zeros_like ones_like",
    "x y": "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor nextafter "
    "floor_divide searchsorted",
    "i": "bitwise_invert",
    "i j": "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift",
}


@pytest.mark.parametrize(("given", "name"), [(given, n) for given, names in CONSTANTS.items() for n in names.split()])
def test_functions_without_a_gradient(given, name, any_cupy):
    sorted_ = name == "searchsorted"
    arrays = {
        "x": np.float32([1, 2, 2.5]) if sorted_ else np.float32([[3, 1, -2], [1, 0, 2]]),
        "y": np.float32([[0, 2], [3, 2]]) if sorted_ else np.float32([[2, 1, 5], [-1, 4, 1]]),
        "i": np.array([[6, 3], [1, 2]]),
        "j": np.array([[1, 2], [3, 3]]),
    }
    results = []
    for device in ("cpu", "cuda:0"):
        found = getattr(tn, name)(*(Tensor(arrays[a]).to(device) for a in given.split()))
        results.append(found if isinstance(found, tuple) else (found,))
        assert {y.device for y in results[-1]} == {device}
    for y, z in zip(*results, strict=True):
        assert y.dtype == z.dtype
        assert y.tolist() == z.tolist()


def test_dlpack_shares_memory(any_cupy):
    x = Tensor(RNG.normal(size=(2, 3))).to("cuda")
    assert x.__dlpack_device__() == (2, 0)
    theirs = any_cupy.from_dlpack(x)
    assert type(theirs) is any_cupy.ndarray
    assert theirs.data.ptr == x.data.data.ptr
    y = tn.from_dlpack(theirs)
    assert y.device == "cuda:0"
    assert y.data.data.ptr == x.data.data.ptr
    assert tn.from_dlpack(theirs, copy=True).data.data.ptr != x.data.data.ptr
    assert tn.from_dlpack(theirs, device="cpu").device == "cpu"
    with pytest.raises(RuntimeError, match=r"would cut the graph: x\.detach"):
        any_cupy.from_dlpack(x.requires_grad_())


def test_higher_derivatives(any_cupy, readable):
    x = Tensor([0.5, -1.5]).to("cuda")
    assert tn.jacobian(tn.tanh, x).device == "cuda:0"
    hessian = tn.hessian(lambda v: tn.sum(v**3), x)
    assert hessian.device == "cuda:0"
    np.testing.assert_allclose(hessian.tolist(), [[3.0, 0], [0, -9.0]])
    _, product = tn.hvp(lambda v: tn.sum(tn.log_softmax(v)), x, Tensor([1.0, 2.0]).to("cuda"))
    assert product.device == "cuda:0"
    _, pushed = tn.jvp(tn.exp, x, Tensor([1.0, 2.0]).to("cuda"))
    np.testing.assert_allclose(pushed.tolist(), np.exp([0.5, -1.5]) * [1, 2], rtol=1e-6)
    layer = nn.Linear(2, 2).to("cuda")
    checked = tn.checkpoint(lambda v: tn.tanh(layer(v)), x.requires_grad_())
    assert tn.grad(checked, x, Tensor([1.0, -2.0]).to("cuda"))[0].device == "cuda:0"
