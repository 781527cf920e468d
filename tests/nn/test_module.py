"""Module: registration, names and order, switches, copies, and the mistakes that get an answer."""

import copy
import pickle

import numpy as np
import pytest

from tinygrad_nlp import InplaceError, Tensor, nn, tanh

rng = np.random.default_rng(0)


class Net(nn.Module):
    """A module of every kind of attribute, in an order that differs from the one of `state_dict`."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 4)
        self.register_buffer("table", np.arange(3.0))
        self.scale = nn.Parameter([1.0, 2.0, 3.0, 4.0])
        self.register_buffer("scratch", np.zeros(2), persistent=False)
        self.absent = None
        self.layers = nn.ModuleList([nn.Linear(4, 4, bias=False), nn.ReLU()])
        self.size = 7

    def forward(self, x):
        for layer in [self.inner, *self.layers]:
            x = layer(x)
        return x * self.scale


def test_names_and_their_order():
    net = Net()
    names = ["scale", "inner.weight", "inner.bias", "layers.0.weight"]
    assert [n for n, _ in net.named_parameters()] == names
    assert list(net.state_dict()) == ["scale", "table", *names[1:]]
    assert [n for n, _ in net.named_buffers()] == ["table", "scratch"]
    assert [n for n, _ in net.named_modules()] == ["", "inner", "layers", "layers.0", "layers.1"]
    assert [n for n, _ in net.named_children()] == ["inner", "layers"]
    assert next(net.modules()) is net
    assert list(net.children()) == [net.inner, net.layers]
    assert [n for n, _ in net.named_parameters(prefix="net", recurse=False)] == ["net.scale"]
    assert [p.dtype for p in net.parameters()] == [np.float32] * 4


def test_the_state_is_a_copy():
    net = Net()
    state = net.state_dict()
    before = net.scale.data.copy()
    state["scale"][...] = 9
    np.testing.assert_array_equal(net.scale.data, before)
    assert all(type(v) is np.ndarray for v in state.values())


def test_parameter_owns_its_memory():
    data = rng.normal(size=3)
    p = nn.Parameter(data)
    data[...] = 0
    assert np.all(p.data != 0)
    assert p.requires_grad
    assert p.is_leaf
    assert p.dtype == np.float64
    assert nn.Parameter([1, 2.5]).dtype == np.float32
    computed = tanh(p)
    assert nn.Parameter(computed).is_leaf
    assert nn.Parameter(computed).data is not computed.data


def test_reassignment_and_removal():
    net = Net()
    net.scale = nn.Parameter(np.ones(4))
    assert next(iter(net.named_parameters()))[0] == "scale"  # keeps its place
    net.scale.requires_grad_(False)
    frozen = net.scale
    net.scale = None
    assert "scale" not in dict(net.named_parameters())
    net.scale = frozen
    assert dict(net.named_parameters())["scale"] is frozen
    net.absent = nn.Linear(2, 2)  # None became a module
    assert "absent.weight" in dict(net.named_parameters())
    del net.absent, net.table
    assert not {"absent.weight", "table"} & set(net.state_dict())
    net.layers[1] = nn.Linear(4, 4)
    assert "layers.1.bias" in net.state_dict()
    net.kept = tanh(net.inner.weight)  # the result of a computation is an attribute like any other
    assert "kept" not in net.state_dict()


def test_tied_parameters_come_once_and_are_saved_under_both_names():
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    net[1].weight = net[0].weight
    assert [n for n, _ in net.named_parameters()] == ["0.weight"]
    assert list(net.state_dict()) == ["0.weight", "1.weight"]
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin[0].weight is twin[1].weight
        assert twin[0].weight is not net[0].weight
    net.to(dtype="float64")
    assert net[0].weight is net[1].weight
    assert net[0].weight.dtype == np.float64
    shared = nn.Linear(2, 2)
    assert len(list(nn.Sequential(shared, nn.ReLU(), shared).parameters())) == 2
    assert list(nn.Sequential(shared, shared).state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert len(list(nn.Sequential(shared, shared).children())) == 1


def test_copies_are_equal_and_independent():
    net = Net()
    net(Tensor(rng.normal(size=(2, 3)).astype("f"))).backward(rng.normal(size=(2, 4)))
    net.eval()
    net.inner.requires_grad_(False)
    x = rng.normal(size=(2, 3)).astype("f")
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin(x).data, net(x).data)
        assert not twin.training
        assert not twin.inner.weight.requires_grad
        np.testing.assert_array_equal(twin.scale.grad.data, net.scale.grad.data)
        nn.init.zeros_(twin.scale)
        assert np.all(net.scale.data != 0)


def test_training_reaches_every_module():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    net.train(False)
    assert not net.layers[0].training


def test_freezing_keeps_the_gradient_flowing():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    net[0].requires_grad_(False)
    assert len(list(net.parameters())) == 4
    x = Tensor(rng.normal(size=(5, 3)).astype("f"), requires_grad=True)
    net(x).backward(rng.normal(size=(5, 2)))
    assert x.grad is not None
    assert np.any(x.grad.data)
    assert [p.grad is None for p in net.parameters()] == [True, True, False, False]
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_()
    assert all(p.requires_grad for p in net.parameters())


def test_conversion_takes_gradients_and_leaves_the_rest():
    net = Net()
    net.register_buffer("indices", np.arange(4))
    net(Tensor(rng.normal(size=(2, 3)).astype("f"))).backward(rng.normal(size=(2, 4)))
    before, parameters = net.scale.grad.data.copy(), list(net.parameters())
    assert net.to("cpu", np.float64) is net
    assert {p.dtype for p in net.parameters()} == {np.dtype("float64")}
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
    assert net.scale.grad.dtype == np.float64
    np.testing.assert_array_equal(net.scale.grad.data, before)
    assert net.indices.dtype == np.int64
    net(Tensor(rng.normal(size=(2, 3)))).backward(rng.normal(size=(2, 4)))
    assert net.to("float32").scale.dtype == np.float32
    with pytest.raises(TypeError, match=r"Net.to: parameters need a floating-point dtype, not int64"):
        net.to(np.int64)


def test_apply_visits_children_first():
    seen = []
    net = Net()
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "Linear", "ReLU", "ModuleList", "Net"]


def test_repr_is_a_tree_with_counts():
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.GELU("tanh"), nn.Dropout(0.1)))
    net[0].bias.requires_grad_(False)
    assert repr(net).splitlines() == [
        "Sequential(  # 16 parameters, 4 frozen",
        "  (0): Linear(in_features=3, out_features=4, bias=True)  # 16 parameters, 4 frozen",
        "  (1): Sequential(",
        "    (0): GELU(approximate='tanh')",
        "    (1): Dropout(p=0.1)",
        "  )",
        ")",
    ]
    attention = repr(nn.MultiheadAttention(4, 2)).splitlines()
    assert attention[:2] == ["MultiheadAttention(  # 80 parameters", "  4, num_heads=2"]


def test_containers():
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    assert len(layers) == 3
    assert len(layers[1:]) == 2
    assert layers[-1] is list(layers)[2]
    assert list(layers.append(nn.ReLU()).state_dict())[-1] == "2.bias"
    named = nn.Sequential({"first": nn.Linear(2, 3), "second": nn.Linear(3, 1)})
    assert list(named.state_dict()) == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert list(named[1:].state_dict()) == ["second.weight", "second.bias"]
    assert len(named) == 2
    x = rng.normal(size=(4, 2)).astype("f")
    np.testing.assert_array_equal(named(x).data, named.second(named.first(x)).data)
    assert nn.Identity(3, "whatever")(x) is x
    with pytest.raises(TypeError, match="Sequential holds modules, not function"):
        nn.Sequential(nn.Linear(2, 2), lambda x: x)
    with pytest.raises(TypeError, match="ModuleList holds modules, not int"):
        nn.ModuleList([3])


def test_forgotten_super_init():
    class Forgot(nn.Module):
        def __init__(self, value):
            self.value = value

    wanted = r"Forgot.__init__ must call super\(\).__init__\(\) before anything else"
    for value in (nn.Parameter([1.0]), nn.Linear(2, 2), Tensor([1.0])):
        with pytest.raises(AttributeError, match=wanted):
            Forgot(value)
    with pytest.raises(AttributeError, match=wanted):
        Forgot(3).parameters().__next__()
    with pytest.raises(AttributeError, match=wanted):
        Forgot(3).register_buffer("b", [1.0])
    assert repr(Forgot(3)) == "<Forgot, not initialised>"


def test_mistakes_get_an_answer():
    net = Net()
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'iner'"):
        _ = net.iner
    with pytest.raises(TypeError, match=r"Net.scale is a parameter: assign a leaf Tensor .* not ndarray"):
        net.scale = np.ones(4)
    with pytest.raises(TypeError, match=r"Net.scale is a parameter: .* not the result of a computation"):
        net.scale = tanh(net.scale)
    with pytest.raises(TypeError, match=r"Net.inner is a module: assign a Module or None, not int"):
        net.inner = 3
    with pytest.raises(TypeError, match=r"Net.table is a buffer: assign a Tensor or None, not list"):
        net.table = [1.0]
    with pytest.raises(KeyError, match="already has an attribute 'size'"):
        net.register_buffer("size", [1.0])
    with pytest.raises(KeyError, match="no dots"):
        net.register_parameter("a.b", None)
    with pytest.raises(TypeError, match="floating-point leaf"):
        net.register_parameter("p", Tensor([1, 2]))
    with pytest.raises(NotImplementedError, match=r"Module defines no forward"):
        nn.Module()(1)


def test_loading():
    net, other = Net(), Net()
    nn.init.normal_(other.scale)
    loaded = net.load_state_dict(other.state_dict())
    assert loaded == ([], [])
    for name, values in other.state_dict().items():
        np.testing.assert_array_equal(net.state_dict()[name], values)
    parameters = list(net.parameters())
    net.load_state_dict({name: Tensor(v.astype("f8"), requires_grad=True) for name, v in other.state_dict().items()})
    assert all(a is b and a.dtype == np.float32 for a, b in zip(parameters, net.parameters(), strict=True))
    assert all(p.requires_grad for p in net.parameters())
    part = net.load_state_dict({"scale": np.full(4, 5), "more": np.ones(1)}, strict=False)
    assert part.missing_keys == ["table", "inner.weight", "inner.bias", "layers.0.weight"]
    assert part.unexpected_keys == ["more"]
    np.testing.assert_array_equal(net.scale.data, np.full(4, 5, "f"))


def test_a_state_that_does_not_fit_is_listed_whole_and_changes_nothing():
    net = Net()
    before = net.state_dict()
    state = {**before, "scale": before["scale"] + 1, "inner.weight": np.ones((3, 4)), "inner.bias": np.array(["a"] * 4)}
    del state["table"], state["layers.0.weight"]
    state |= {"foo": 1, "bar": 2}
    with pytest.raises(nn.StateDictError) as error:
        net.load_state_dict(state)
    assert str(error.value).splitlines() == [
        "Net.load_state_dict, nothing was loaded",
        "  missing: table, layers.0.weight",
        "  unexpected: foo, bar",
        "  not fitting: inner.weight has shape (3, 4), the module's has (4, 3); inner.bias holds <U1, not numbers",
    ]
    assert isinstance(error.value, RuntimeError)
    with pytest.raises(nn.StateDictError, match=r"inner.weight has shape \(3, 4\), the module's has \(4, 3\)"):
        net.load_state_dict({"inner.weight": np.ones((3, 4)), "scale": np.zeros(4)}, strict=False)
    for name, values in net.state_dict().items():
        np.testing.assert_array_equal(values, before[name])


def test_a_graph_that_kept_overwritten_weights_refuses_its_sweep():
    net = nn.Linear(3, 2)
    y = net(Tensor(rng.normal(size=(4, 3)).astype("f"), requires_grad=True))
    net.load_state_dict(net.state_dict())
    with pytest.raises(InplaceError):
        y.backward(rng.normal(size=(4, 2)))
