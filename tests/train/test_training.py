"""Training by the command line: a run is the same bit for bit however it was cut, and no failure loses it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tinygrad_nlp.models import find
from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import consecutive_windows
from tinygrad_nlp.train.checkpoint import load_checkpoint, restore

STEPS = 160
PHRASE = "attention is a weighted mean of values and the weights are a softmax of queries times keys"


def options(**values):
    return [word for name, value in values.items() for word in ("--" + name.replace("_", "-"), str(value))]


TINY = options(layers=2, heads=2, width=16, block_size=16, batch_size=4, threads=1)
LONG = [*TINY, *options(dropout=0.2, warmup=100, decay_steps=STEPS, eval_every=20)]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "words.txt"
    words = PHRASE.split()
    path.write_text(" ".join(words[i] for i in Generator(0).integers(0, len(words), (600,))))
    return path


def start(*arguments, cwd, hash_seed=0):
    return subprocess.Popen(
        [sys.executable, "-m", "tinygrad_nlp", *map(str, arguments)],
        cwd=cwd, env=os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(*arguments, cwd, status=0, **settings):
    process = start(*arguments, cwd=cwd, **settings)
    out, err = process.communicate()
    assert process.returncode == status, err
    assert "Traceback" not in err
    return out, err


def history(folder):
    """What must be equal of every step: all but the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("tokens_per_s", "elapsed")} for line in lines]


def tensors(tree, name=""):
    if isinstance(tree, dict):
        return {k: v for key, value in tree.items() for k, v in tensors(value, f"{name}.{key}").items()}
    if isinstance(tree, list):
        return tensors(dict(enumerate(tree)), name)
    return {name: tree.tobytes() if isinstance(tree, np.ndarray) else tree}


def same_run(a, b):
    assert history(a) == history(b)
    one, other = (load_checkpoint(folder) for folder in (a, b))
    for part in ("model", "optimizer", "random", "cursor", "step", "val_loss"):
        assert tensors(one[part]) == tensors(other[part]), part


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """All steps without a break: dropout on, inside the warm-up until step 100."""
    cwd = tmp_path_factory.mktemp("whole")
    out, err = run("train", "gpt", "--data", text, "--steps", STEPS, *LONG, cwd=cwd, hash_seed=1)
    return cwd / "runs" / "gpt-001", out, err


def test_a_run_folder_has_everything(whole, text):
    folder, out, err = whole
    expected = {"checkpoint.safetensors", "config.json", "loss.png", "metrics.jsonl", "samples.txt"}
    assert {p.name for p in folder.iterdir()} == expected
    config = json.loads((folder / "config.json").read_text())
    assert config["model"] == "gpt"
    assert config["config"]["n_embd"] == 16
    assert config["settings"]["data"] == str(text)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert [line["step"] for line in lines if "val_loss" in line] == list(range(20, STEPS + 1, 20))
    for line in lines:
        assert line["train_bits_per_char"] == pytest.approx(line["train_loss"] / np.log(2))
        assert min(line["tokens_per_s"], line["elapsed"], line["grad_norm"]) > 0
    assert lines[0]["lr"] == pytest.approx(3e-3 / 100)
    assert lines[-1]["lr"] == pytest.approx(1e-4)
    assert lines[-1]["val_loss"] < lines[19]["val_loss"]
    assert (folder / "loss.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    samples = (folder / "samples.txt").read_text()
    assert len(samples) > 900
    assert "nats" in out
    assert "bits per character" in out
    assert "generate runs/gpt-001" in out
    assert "--resume runs/gpt-001" in out
    assert f"step {STEPS}/{STEPS}" in err


def test_the_validation_loss_is_that_of_the_held_out_text_without_dropout(whole, text):
    state = load_checkpoint(whole[0])
    model_class, config_class, run_class = find("gpt")
    model, tokenizer = restore(state, whole[0], model_class, config_class), run_class.tokenizer_of(state)
    held_out = tokenizer.encode(text.read_text())[-(text.stat().st_size // 10) :]
    loss = model.eval().loss(*consecutive_windows(held_out, 16)).item()
    assert state["val_loss"] == pytest.approx(loss, rel=1e-5)


def test_n_steps_and_n_more_are_two_n(whole, text, tmp_path):
    run("train", "gpt", "--data", text, "--steps", STEPS // 2, *LONG, cwd=tmp_path, hash_seed=2)
    first = tmp_path / "runs" / "gpt-001"
    assert load_checkpoint(first)["step"] == STEPS // 2
    _, err = run("train", "gpt", "--resume", first, "--steps", STEPS, cwd=tmp_path, hash_seed=3)
    assert f"step {STEPS}/{STEPS}" in err
    same_run(whole[0], first)


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(whole, text, tmp_path):
    process = start("train", "gpt", "--data", text, "--steps", STEPS, *LONG, cwd=tmp_path, hash_seed=4)
    folder = tmp_path / "runs" / "gpt-001"
    metrics = folder / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 10):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "--resume runs/gpt-001" in err
    stopped = load_checkpoint(folder)["step"]
    assert 10 <= stopped < STEPS
    assert len(history(folder)) == stopped
    with metrics.open("a") as file:  # a kill may also have left steps past the checkpoint, and half a line
        file.write(json.dumps({"step": stopped + 1, "train_loss": 9.9}) + '\n{"step": ')
    run("train", "gpt", "--resume", folder, cwd=tmp_path, hash_seed=5)
    same_run(whole[0], folder)


def limited(limit, *arguments, cwd):
    child = (
        "import resource, sys; from tinygrad_nlp.cli import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", child, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
@pytest.mark.parametrize(("limit", "file"), [(20_000, "checkpoint.safetensors"), (1000, "metrics.jsonl")])
def test_a_full_disk_ends_in_one_sentence_and_the_run_goes_on_later(text, tmp_path, limit, file):
    folder = tmp_path / "out"
    run("train", "gpt", "--data", text, "--steps", 3, "--out", folder, *TINY, "--quiet", cwd=tmp_path)
    full = limited(limit, "train", "gpt", "--resume", folder, "--steps", 9, "--quiet", cwd=tmp_path)
    assert full.returncode == 2
    assert full.stderr.startswith(f"tinygrad-nlp: cannot write {folder / file}: File too large")
    assert full.stderr.count("\n") == 1
    assert load_checkpoint(folder)["step"] == 3
    out, _ = run("train", "gpt", "--resume", folder, "--steps", 9, "--quiet", cwd=tmp_path)
    assert out == f"{folder}\n"
    assert [line["step"] for line in history(folder)] == list(range(1, 10))


def test_generate_writes_the_same_text_for_the_same_seed(whole):
    folder = whole[0]
    write = ["generate", folder, "--prompt", "the ", "--length", 40]
    texts = [run(*write, "--seed", seed, cwd=folder)[0] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("the ")
    assert len(texts[0]) == 4 + 40 + 1


def test_generate_into_a_closed_pipe_is_quiet(whole):
    process = start("generate", whole[0], "--length", 2000, cwd=whole[0])
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
