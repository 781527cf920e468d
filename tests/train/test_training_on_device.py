"""Every model trained, continued, and at work by the command line with `--device cuda`: CuPy's stand-in, or a GPU."""

import json

import numpy as np
import pytest
from resumption import leaves, trained
from small_runs import MODELS, SMALL

import tinygrad_nlp as tn
from tinygrad_nlp.cli import main
from tinygrad_nlp.train.streams import StreamRun
from tinygrad_nlp.train.windows import WindowRun


@pytest.fixture(autouse=True)
def _readable(any_cupy, monkeypatch):
    """The readable references on both devices: they round alike, and are quick on little data."""
    for run_class in (WindowRun, StreamRun):
        monkeypatch.setattr(run_class, "sample_length", 12)
    with tn.use_backend("reference"):
        yield


def numbers(metrics):
    """All numbers of the lines but the times."""
    return [[v for k, v in line.items() if k not in ("tokens_per_s", "elapsed")] for line in metrics]


@pytest.mark.parametrize("name", MODELS)
def test_a_run_on_the_gpu_is_the_run_on_the_cpu(name, data, tmp_path, capsys):
    options, kind, command = MODELS[name]
    more = ["--data", data / kind, *options, *SMALL]
    (here, lines), (there, others) = (
        trained(name, "--out", tmp_path / device, *more, "--steps", 6, "--device", device) for device in ("cpu", "cuda")
    )
    assert len(lines) == 6
    for line, other in zip(numbers(lines), numbers(others), strict=True):
        np.testing.assert_allclose(other, line, rtol=2e-4, atol=1e-5)
    for part in ("random", "cursor") if name != "language-model" else ("random",):
        assert leaves(there[part]) == leaves(here[part])
    for key, weights in here["model"].items():
        np.testing.assert_allclose(there["model"][key], weights, rtol=1e-2, atol=2e-3)  # Adam divides by small numbers
    # half of the steps on each device
    trained(name, "--out", tmp_path / "cut", *more, "--steps", 3, "--device", "cuda")
    capsys.readouterr()
    again, resumed = trained(name, "--resume", tmp_path / "cut", "--steps", 6, "--device", "cpu")
    assert again["step"] == 6
    for line, other in zip(numbers(lines), numbers(resumed), strict=True):
        np.testing.assert_allclose(other, line, rtol=2e-4, atol=1e-5)
    if command is None:
        return
    written = {}
    more = {"gpt": ["--length", 9], "language-model": ["--length", 5], "name-generator": ["--category", "Elf", "-n", 3]}
    for device in ("cpu", "cuda"):
        capsys.readouterr()
        words = [command, tmp_path / "cuda", *more.get(name, ["we hold good truths"]), "--device", device]
        assert main([str(w) for w in words]) == 0
        written[device] = capsys.readouterr().out
    assert written["cuda"] == written["cpu"] != ""


def test_a_gpu_that_is_not_there_is_told_before_there_is_a_folder(data, tmp_path, capsys):
    words = ["train", "gpt", "--data", data / "text", "--out", tmp_path / "run", "--device", "cuda:77"]
    assert main([str(w) for w in words]) == 2
    assert capsys.readouterr().err.startswith("tinygrad-nlp: device 'cuda:77': this machine has ")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_the_same_file_from_either_device(data, tmp_path):
    """Before the first step nothing was computed: the same bits."""
    options, kind, _ = MODELS["gpt"]
    states = [
        trained("gpt", "--out", tmp_path / d, "--data", data / kind, *options, "--steps", 1, "--lr", 0, "--device", d)[
            0
        ]
        for d in ("cpu", "cuda")
    ]
    assert leaves(states[0]["model"]) == leaves(states[1]["model"])
    assert json.loads((tmp_path / "cuda" / "config.json").read_text())["model"] == "gpt"
