"""Training steps as CUDA graphs: the losses and weights of eager steps, to the last bit; bugs planted in the replay.

CuPy's stand-in captures and launches, or a GPU; what is stale on one is stale on the other.
"""

import contextlib
import re

import numpy as np
import pytest
from nlp_kernels.common.sending import sent_later
from resumption import leaves, trained
from standin import needs_simulator

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, nn, optim
from tinygrad_nlp.random import Generator
from tinygrad_nlp.train import graphs
from tinygrad_nlp.train.graphs import Captured, GraphStep
from tinygrad_nlp.train.language_model import LanguageModelRun
from tinygrad_nlp.train.loop import DivergedError, training_steps

pytestmark = [needs_simulator(), pytest.mark.constant_cotangents("to look at one is to wait for the GPU")]


@pytest.fixture(autouse=True)
def _mostly_readable(request):
    """AdamW and the norm by their kernels, which a graph needs; the rest by the readable references."""
    request.getfixturevalue("any_cupy" if "any_cupy" in request.fixturenames else "standin_cupy")
    if "whole" in request.node.name:
        yield
        return
    with tn.use_backend("reference"), tn.use_backend("cuda", "adamw"):
        yield


class Learner:
    """A small network, and batches of numbers that never repeat."""

    fixed_shapes = True

    def __init__(self, sizes=(6,), dropout=0.0, **options):
        draw = Generator(1)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.LayerNorm(8), nn.Linear(8, 4))
        for p in self.model.parameters():
            nn.init.uniform_(p, -1, 1, generator=draw)
        self.model.to("cuda")
        parameters = list(self.model.parameters())
        groups = [{"params": parameters[::2], "weight_decay": 0.1}, {"params": parameters[1::2], "weight_decay": 0.0}]
        self.optimizer = optim.AdamW(groups, **options)
        self.draws, self.sizes, self.drawn, self.kept = Generator(2), sizes, 0, []

    def draw(self):
        n = self.sizes[self.drawn % len(self.sizes)]
        self.drawn += 1
        return self.draws.normal((n, 3)), self.draws.integers(0, 4, (n,))

    def loss_of(self, x, y):
        loss = nn.functional.cross_entropy(self.model(x), y)
        return loss, (loss.detach() * 2,)

    def keep(self, ends):
        self.kept.append(ends[0])

    def batch_loss(self):
        loss, ends = self.loss_of(*(Tensor(a).to("cuda") for a in self.draw()))
        self.keep(ends)
        return loss

    def steps(self, last, clip, by):
        return training_steps(
            self.model, self.optimizer, self.batch_loss, lambda t: 0.1 / t, first=1, last=last, clip=clip, by=by
        )


def run(by_graph, steps=6, clip=0.5, said=None, **options):
    """(losses, norms, kept numbers, weights and moments) of steps with a falling rate."""
    learner, told = Learner(**options), [] if said is None else said
    by = GraphStep(learner, clip, told.append) if by_graph else None
    done, kept = [], []
    for step in learner.steps(steps, clip, by):
        done.append((step.loss, step.grad_norm))
        kept.append(learner.kept[-1].item())
    return done, kept, leaves(learner.model.state_dict()), leaves(learner.optimizer.state_dict())


def test_replayed_steps_are_the_steps(any_cupy):
    said = []
    assert run(True, said=said) == run(False)
    assert said == ["training steps are replayed as a CUDA graph, captured from the second one"]


def test_they_were_replayed(monkeypatch, any_cupy):
    launched = []
    replay = Captured.gradients
    monkeypatch.setattr(Captured, "gradients", lambda self, batch: launched.append(1) or replay(self, batch))
    run(True, steps=5)
    assert len(launched) == 4


def test_a_batch_of_another_shape_is_a_step_by_itself(any_cupy):
    assert run(True, steps=9, sizes=(6, 6, 6, 2)) == run(False, steps=9, sizes=(6, 6, 6, 2))


def test_other_memory_is_not_touched(any_cupy):
    other_memory_is_not_touched(any_cupy)


def other_memory_is_not_touched(cupy):
    """What is computed between the steps, as a validation is, and what the steps before left."""
    learner = Learner()
    mine = []
    for _ in learner.steps(6, 0.5, GraphStep(learner, 0.5, lambda said: None)):
        cupy.get_default_memory_pool().free_all_blocks()
        values = np.random.default_rng(len(mine)).normal(size=(6, 8))
        mine.append((values, [cupy.asarray(values * k) for k in range(8)]))
        for numbers, arrays in mine:
            for k, array in enumerate(arrays):
                np.testing.assert_array_equal(array.get(), numbers * k)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"dropout": 0.5}, "dropout draws new random numbers for each"),
        ({"sizes": (3, 4)}, "the batches' shapes vary"),
    ],
)
def test_what_cannot_be_replayed_runs_step_by_step_and_says_why(options, why, any_cupy):
    said = []
    tn.manual_seed(0)
    eager = run(False, **options)
    tn.manual_seed(0)
    assert run(True, said=said, **options) == eager
    assert said == [f"training steps run kernel by kernel, not as a CUDA graph: {why}"]


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("TINYGRAD_NLP_GRAPHS", "0")
    said = []
    assert run(True, said=said) == run(False)
    assert said[0].endswith(": TINYGRAD_NLP_GRAPHS is 0")


WAITING = {
    "looks at a value": lambda x: x * float(x.data[0, 0] > -10),
    "sends from the host": lambda x: x + Tensor(np.zeros((1, 3), np.float32)).to("cuda"),
    "joins more than eight arrays": lambda x: tn.concat([x[:, i % 3 : i % 3 + 1] for i in range(9)], axis=1)[:, :3],
}


@pytest.mark.parametrize("name", WAITING)
def test_a_step_that_waits_for_the_gpu_runs_step_by_step(name, monkeypatch, any_cupy):
    """The failed capture leaves no trace: nothing was counted, drawn or computed."""
    forward = nn.Sequential.forward
    monkeypatch.setattr(nn.Sequential, "forward", lambda self, x: forward(self, WAITING[name](tn.asarray(x))))
    said = []
    assert run(True, said=said) == run(False)
    assert "not as a CUDA graph: it cannot be captured (" in said[0]


def test_divergence_is_told_before_it_reaches_the_weights(any_cupy):
    learner = Learner()
    draw = learner.draw
    learner.draw = lambda: tuple(a * np.inf if a.dtype.kind == "f" and learner.drawn == 5 else a for a in draw())
    by = GraphStep(learner, 0.5, lambda said: None)
    steps = learner.steps(6, 0.5, by)
    for _ in range(4):
        next(steps)
    assert by.replaying
    before = leaves(learner.model.state_dict()), leaves(learner.optimizer.state_dict()["state"])
    with np.errstate(invalid="ignore"), pytest.raises(DivergedError, match=r"loss nan .* at step 5"):
        next(steps)
    assert (leaves(learner.model.state_dict()), leaves(learner.optimizer.state_dict()["state"])) == before


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gpt", "--layers 1 --heads 2 --width 8 --block-size 8 --batch-size 2"),
        ("language-model", "--cell gru --layers 1 --hidden 6 --bptt 5 --batch-size 2 --min-count 1 --dropout 0"),
    ],
)
def test_a_whole_model_with_every_kernel_there_is(name, options, tmp_path, monkeypatch, any_cupy):
    """By the command line; the language model's state goes from block to block, and an epoch ends with a short one."""
    monkeypatch.setattr(LanguageModelRun, "sample_length", 3)
    words = "we hold these truths to be self evident , that all are created equal .".split()
    (tmp_path / "text").write_text(" ".join(words[i] for i in Generator(0).integers(0, len(words), (40,))))
    more = ["--data", tmp_path / "text", *options.split(), "--steps", 6, "--warmup", 2, "--eval-every", 3]
    replays, captured = [], Captured.gradients
    monkeypatch.setattr(Captured, "gradients", lambda self, batch: replays.append(1) or captured(self, batch))
    runs = []
    for graphs_on in "01":
        monkeypatch.setenv("TINYGRAD_NLP_GRAPHS", graphs_on)
        state, lines = trained(name, "--out", tmp_path / graphs_on, *more, "--device", "cuda")
        told = [[v for k, v in line.items() if k not in ("tokens_per_s", "elapsed")] for line in lines]
        runs.append((told, leaves(state["model"]), leaves(state["optimizer"]), leaves(state["cursor"])))
    assert len(replays) >= 4
    assert runs[0] == runs[1]


# Planted bugs: each must make a run another ------------------------------------------------------------------------


def stale_rate(monkeypatch, cupy):
    monkeypatch.setattr(Captured, "_send", lambda self: None)


def inputs_not_copied(monkeypatch, cupy):
    monkeypatch.setattr(cupy.ndarray, "set", lambda self, values: None)


def first_step_lost(monkeypatch, cupy):
    """The step that is captured is taken for one that has run."""
    replay = Captured.gradients

    def gradients(self, batch):
        ran, self.ran = getattr(self, "ran", False), True
        return replay(self, batch) if ran else (1.0, 1.0)

    monkeypatch.setattr(Captured, "gradients", gradients)


def tables_never_sent(monkeypatch, cupy):
    @contextlib.contextmanager
    def forgotten():
        with sent_later():
            yield []
            monkeypatch.setattr(cupy.ndarray, "set", lambda self, values: None)
        monkeypatch.undo()

    monkeypatch.setattr(graphs, "sent_later", forgotten)


PLANTED = (stale_rate, inputs_not_copied, first_step_lost, tables_never_sent)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda f: f.__name__)
def test_planted_bugs_are_caught(plant, monkeypatch, standin_cupy):
    right = run(False)
    assert run(True) == right
    plant(monkeypatch, standin_cupy)
    try:
        assert run(True) != right
    except (DivergedError, ValueError) as error:
        assert re.search("diverged|no device memory at", str(error))  # noqa: PT017


def test_memory_that_is_shared_is_caught(monkeypatch, standin_cupy):
    """Without a pool of its own, a graph writes into what somebody else was given."""
    other_memory_is_not_touched(standin_cupy)
    monkeypatch.setattr(standin_cupy.cuda, "MemoryPool", standin_cupy.get_default_memory_pool)
    with pytest.raises(AssertionError):
        other_memory_is_not_touched(standin_cupy)
