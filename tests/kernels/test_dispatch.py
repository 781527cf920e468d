"""Which backend serves an array: preference, forcing, registration from outside, and refusals in clear words."""

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from nlp_kernels import cross_entropy, dispatch, softmax
from nlp_kernels.dispatch import backends, register_backend, select, unregister_backend, use_backend
from nlp_kernels.errors import BackendError
from nlp_kernels.softmax import reference

x = np.random.default_rng(0).normal(size=(3, 4))


@pytest.fixture
def mine():
    """A backend from outside the package that serves float64 rows and counts its calls."""

    def counted(function):
        def call(*args, **hyper):
            module.calls.append(function.__name__)
            return function(*args, **hyper)

        return call

    module = SimpleNamespace(calls=[])
    module.supports = lambda x, keep=None, **hyper: x.dtype == np.float64 and keep is None
    module.forward, module.backward = counted(reference.forward), counted(reference.backward)
    register_backend("softmax", "mine", module)
    yield module
    unregister_backend("softmax", "mine")


def test_a_registered_backend_is_asked_first(mine):
    assert backends("softmax")[0] == "mine"
    assert backends("softmax")[-1] == "reference"
    assert select("softmax", x) is mine
    assert select("softmax", x.astype(np.float32)) is not mine
    assert select("softmax", x, np.ones((3, 4), bool)) is not mine
    p, saved = softmax.forward(x)
    np.testing.assert_array_equal(p, reference.forward(x)[0])
    softmax.backward(x, x, None, saved)
    assert mine.calls == ["forward", "backward"]


def test_a_backend_can_be_forced(mine):
    with use_backend("reference"):
        softmax.forward(x)
        assert mine.calls == []
        with use_backend("mine"):
            softmax.forward(x)
        assert select("softmax", x) is reference
    assert mine.calls == ["forward"]


def test_forcing_one_hot_path_leaves_the_others(mine):
    with use_backend("mine", "softmax"):
        assert select("softmax", x) is mine
        cross_entropy.forward(x, np.zeros(3, np.int64))
    with use_backend("reference"), use_backend("mine", "softmax"):
        assert select("softmax", x) is mine
        assert select("cross_entropy", x) is cross_entropy.reference
        with use_backend("reference"):
            assert select("softmax", x) is reference


def test_a_forced_backend_that_cannot_serve_raises(mine):
    with use_backend("mine"):
        with pytest.raises(
            BackendError, match=r"softmax\(numpy.ndarray\[float32\]\): backend 'mine'.*not support"
        ) as e:
            softmax.forward(x.astype(np.float32))
        assert "does not support this array; its backends: mine, " in str(e.value)
        with pytest.raises(BackendError, match=r"cross_entropy\(numpy.ndarray\[float64\]\).*does not have.*reference"):
            cross_entropy.forward(x, np.zeros(3, np.int64))


def test_an_unknown_name_raises_at_once():
    with pytest.raises(BackendError, match=r"no backend 'cudaa'; there are .*reference"):
        use_backend("cudaa")
    with pytest.raises(BackendError, match=r"no hot path 'soft'; there are .*softmax"):
        use_backend("reference", "soft")
    with pytest.raises(BackendError, match="no hot path"):
        backends("soft")
    with pytest.raises(BackendError, match="no hot path"):
        select("soft", x)


def test_forcing_ends_with_its_block(mine):
    with pytest.raises(ZeroDivisionError), use_backend("reference"):
        raise ZeroDivisionError
    assert select("softmax", x) is mine


def test_forcing_is_local_to_a_thread(mine):
    seen = []
    with use_backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(select("softmax", x)))
        thread.start()
        thread.join()
        assert select("softmax", x) is reference
    assert seen == [mine]


def test_forcing_is_local_to_a_task(mine):
    async def task(name, turn, others_turn):
        with use_backend(name):
            turn.set()
            await others_turn.wait()
            return select("softmax", x)

    async def both():
        a, b = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(task("mine", a, b), task("reference", b, a))

    assert asyncio.run(both()) == [mine, reference]


@pytest.mark.parametrize("name", ["reference", "cpu", "cuda", "mine"])
def test_a_taken_name_is_refused(mine, name):
    with pytest.raises(BackendError, match=f"'{name}' is taken"):
        register_backend("softmax", name, mine)


def test_an_incomplete_backend_is_refused():
    with pytest.raises(BackendError, match="'half' has no supports, backward"):
        register_backend("softmax", "half", SimpleNamespace(forward=reference.forward))
    with pytest.raises(BackendError, match="'half' has no supports, step"):
        register_backend("adamw", "half", SimpleNamespace())
    with pytest.raises(BackendError, match="no hot path"):
        register_backend("soft", "mine", reference)


def test_only_what_was_registered_can_be_taken_back():
    for name in ("reference", "mine"):
        with pytest.raises(BackendError, match=f"no registered backend '{name}'"):
            unregister_backend("softmax", name)


def test_modules_are_imported_once(monkeypatch):
    select("softmax", x)
    monkeypatch.setattr(dispatch, "import_module", None)
    monkeypatch.setattr(dispatch, "ROOT", None)
    assert select("softmax", x) is not None


def test_a_backend_that_does_not_pay_is_passed_over_unless_forced(mine):
    unregister_backend("softmax", "mine")
    mine.pays = lambda x, keep=None, **hyper: len(x) > 3
    register_backend("softmax", "mine", mine)
    assert select("softmax", x) is not mine
    assert select("softmax", np.ones((4, 1))) is mine
    with use_backend("mine"):
        assert select("softmax", x) is mine
