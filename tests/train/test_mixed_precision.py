"""Training with `--dtype bf16`: every model, resumed bit for bit, near float32; and a GPT's step on a GPU's kernels."""

import json

import numpy as np
import pytest
from resumption import assert_same_run, trained
from small_runs import MODELS, SMALL
from standin import installed, needs_simulator

import tinygrad_nlp as tn
from tinygrad_nlp import optim
from tinygrad_nlp.cli import main
from tinygrad_nlp.models.gpt import GPT, GPTConfig
from tinygrad_nlp.train.loop import StepByStep
from tinygrad_nlp.train.streams import StreamRun


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_and_resumes_bit_for_bit(name, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(StreamRun, "sample_length", 12)
    options, kind, command = MODELS[name]
    more = ["--data", data / kind, *options, *SMALL]
    with tn.use_backend("reference"):
        whole, lines = trained(name, "--out", tmp_path / "whole", *more, "--steps", 6, "--dtype", "bf16")
        _, exact = trained(name, "--out", tmp_path / "exact", *more, "--steps", 6)
        trained(name, "--out", tmp_path / "cut", *more, "--steps", 3, "--dtype", "bf16")
        again, resumed = trained(name, "--resume", tmp_path / "cut", "--steps", 6)
        assert_same_run(again, whole)
        assert {x.dtype for x in whole["model"].values()} == {tn.bfloat16}
        state = whole["optimizer"]["state"][0]
        assert {state[key].dtype for key in ("master", "exp_avg", "exp_avg_sq")} == {np.dtype(np.float32)}
        assert json.loads((tmp_path / "whole" / "config.json").read_text())["settings"]["dtype"] == "bf16"
        for line, other, wide in zip(lines, resumed, exact, strict=True):
            assert line["train_loss"] == other["train_loss"]
            np.testing.assert_allclose(line["train_loss"], wide["train_loss"], rtol=0.02)
        if command is not None:
            asked = {"generate": ["--length", 5], "predict": ["we hold good truths"]}[command]
            asked = ["--category", "Elf", "-n", 2] if name == "name-generator" else asked
            assert main([str(w) for w in (command, tmp_path / "cut", *asked)]) == 0
            assert capsys.readouterr().out


def test_a_run_keeps_its_dtype(data, tmp_path, capsys):
    options, kind, _ = MODELS["gpt"]
    trained("gpt", "--out", tmp_path / "run", "--data", data / kind, *options, "--steps", 1, "--dtype", "bf16")
    assert main(["train", "gpt", "--resume", str(tmp_path / "run"), "--steps", "2", "--dtype", "float32"]) == 2
    assert "--dtype was bf16 when the run began and cannot become float32 now" in capsys.readouterr().err


def gradients(dtype):
    """The loss of a small GPT, whose weights bfloat16 has, and its gradients."""
    tn.random.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=20, block_size=8, n_layer=2, n_head=2, n_embd=16)).to(tn.bfloat16).to(dtype)
    tokens = np.random.default_rng(0).integers(0, 20, (3, 9))
    loss = model.loss(tokens[:, :-1], tokens[:, 1:])
    loss.backward()
    assert loss.dtype == np.float32
    return loss.item(), {name: p.grad.data.astype(np.float32) for name, p in model.named_parameters()}


def test_the_gradients_are_float32s_within_rounding():
    (loss, narrow), (exact, wide) = gradients(tn.bfloat16), gradients(np.float32)
    assert abs(loss - exact) < 2**-8 * exact
    for name, g in narrow.items():
        assert np.linalg.norm(g - wide[name]) < 4 * 2**-8 * np.linalg.norm(wide[name]), name


@needs_simulator()
def test_a_step_of_a_gpt_runs_on_a_gpus_kernels():
    """Ours, on CuPy's stand-in; two steps near those of the CPU."""

    def steps(device):
        tn.random.manual_seed(1)
        config = GPTConfig(vocab_size=24, block_size=8, n_layer=1, n_head=2, n_embd=16)
        model = GPT(config).to(device, tn.bfloat16)
        tokens = np.random.default_rng(0).integers(0, 24, (2, 2, 9))
        batches = iter([tn.asarray(t, device=device).data for t in tokens])

        def loss():
            t = next(batches)
            return model.loss(t[:, :-1], t[:, 1:])

        step, told = StepByStep(model, optim.AdamW(model.parameters(), lr=1e-2), loss, 1.0), []
        for _ in tokens:
            told.append(step.gradients())
            step.update()
        return told

    here = steps("cpu")
    with installed():
        there = steps("cuda")
    np.testing.assert_allclose(there, here, rtol=2**-8)
