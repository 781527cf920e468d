"""The command line: help for everything, and for every mistake one sentence, a status, and nothing left behind."""

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest

import tinygrad_nlp
from tinygrad_nlp.cli import main
from tinygrad_nlp.train.checkpoint import load_checkpoint, save_checkpoint


def options(**values):
    return [word for name, value in values.items() for word in ("--" + name.replace("_", "-"), str(value))]


TINY = options(layers=1, heads=2, width=8, block_size=8, batch_size=2, warmup=1, eval_every=2, steps=2)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("abcdefgh " * 40)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text("abcdefgh " * 40)
    arguments = ["train", "gpt", "--data", str(folder / "text.txt"), "--out", str(folder / "run"), *TINY, "--quiet"]
    assert main(arguments) == 0
    return folder / "run"


def refused(capsys, *arguments):
    """The one sentence of a refusal."""
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("tinygrad-nlp: ")
    assert err.count("\n") == 1
    return err[len("tinygrad-nlp: ") : -1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["train", "generate", "study", "data list", "data fetch NAME", "doctor", "runs/gpt-001"]),
        (["train", "--help"], ["gpt", "language-model"]),
        (
            ["train", "gpt", "--help"],
            ["--layers N", "(default: 4)", "--data NAME|PATH", "--resume RUN", "Ctrl-C", "--dtype"],
        ),
        (
            ["train", "language-model", "--help"],
            ["--cell {rnn,gru,lstm}", "--unit {word,char}", "--bptt N", "--max-vocab N", "last tenth", "--cell gru"],
        ),
        (
            ["train", "classifier", "--help"],
            ["--cell {none,rnn,gru,lstm}", "--pooling {last,max,mean}", "(default: subj)"],
        ),
        (
            ["train", "name-generator", "--help"],
            ["--cell {rnn,gru,lstm}", "--width N", "--min-count N", "(default: names)", "a file for each category"],
        ),
        (["generate", "--help"], ["--prompt", "--top-p", "--temperature", "(default: 0.8)"]),
        (["generate", "--help"], ["--category NAME", "--number N", "--category Italian -n 10"]),
        (["predict", "--help"], ["RUN [TEXT …]", "standard input", "< reviews.txt"]),
        (["study", "--help"], ["graph"]),
        (["data", "--help"], ["data list", "data fetch NAME", "TINYGRAD_NLP_DATA", "TINYGRAD_NLP_CACHE"]),
        (["data", "list", "--help"], ["by name"]),
        (["data", "fetch", "--help"], ["NAME", "--all", "every corpus, 22.7 MB", "gutenberg", "word-similarity"]),
        (["doctor", "--help"], ["missing"]),
        (["--version"], [tinygrad_nlp.__version__]),
    ],
)
def test_help(capsys, arguments, words):
    try:
        status = main(arguments)
    except SystemExit as done:  # argparse's own way of ending --help
        status = done.code
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    for word in words:
        assert word in out


def test_nothing_to_do_shows_the_help(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "tinygrad_nlp", "--version"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out == f"tinygrad-nlp {tinygrad_nlp.__version__}\n"


def test_doctor_shows_versions_and_what_is_missing(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for words in (
        "Python",
        "BLAS",
        "BLAS threads",
        "cupy",
        "C++ compiler",
        "CUDA headers",
        "NVIDIA",
        "Everything needed is here",
    ):
        assert words in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["train", "gtp"], "unknown model 'gtp'; did you mean gpt?"),
        (
            ["train", "bloom"],
            "unknown model 'bloom'; there is gpt, language-model, classifier, tagger, window-classifier",
        ),
        (["study", "gravity"], "unknown study 'gravity'; there is graph"),
        (["train", "gpt", "--stepz", "3"], "unknown option '--stepz'; did you mean --steps?"),
        (["train", "gpt", "--step", "3"], "unknown option '--step'; did you mean --steps?"),
        (["train", "gpt", "--qqqqq=1"], "unknown option '--qqqqq'; see"),
        (["train", "gpt", "book.txt"], "unknown argument 'book.txt'; see"),
        (["generate"], "the following arguments are required: RUN"),
        (["generate", "x", "--topk", "3"], "unknown option '--topk'; did you mean --top-k?"),
        (["doctor", "--all"], "unknown option '--all'"),
        (["train", "gpt", "--steps", "0"], "--steps: expected a whole number of at least 1, not '0'"),
        (["train", "gpt", "--steps"], "--steps: expected one argument"),
        (["train", "gpt", "--lr", "fast"], "--lr: expected a number of at least 0, not 'fast'"),
        (["train", "gpt", "--dropout", "1"], "--dropout: expected a number from 0 to 0.99, not '1'"),
        (["train", "gpt", "--dtype", "float16"], "--dtype: invalid choice: 'float16'"),
        (["train", "gpt", "--heads", "3"], "a width of 128 cannot be shared by 3 heads"),
        (["train", "gpt", "--kv-heads", "3"], "3 heads of keys and values cannot be shared by 4 heads"),
        (["train", "gpt", "--threads", "0"], "--threads must be at least 1, not 0"),
        (["train", "gpt", "--seed", "-1"], "--seed: expected a whole number"),
        (
            ["train", "gpt", "--out", "a", "--resume", "b"],
            "--out begins a new run and --resume goes on with an old one",
        ),
        (["train", "gpt", "--resume", "runs/gpt-009"], "there is no run folder runs/gpt-009"),
        (["generate", "runs/gpt-009"], "there is no checkpoint at runs/gpt-009"),
        (["generate", "x", "--top-p", "0"], "--top-p: expected a number from"),
        (["generate", "x", "--temperature", "-1"], "--temperature: expected a number of at least 0, not '-1'"),
        (["train", "gpt", "--data", "absent.txt"], "cannot read the text 'absent.txt': No such file or directory"),
        (["train", "gpt", "--data", "gutenbreg"], "no corpus has this name; did you mean gutenberg?"),
        (
            ["train", "gpt", "--data", "subj"],
            "the corpus 'subj' is no plain text (labelled sentences); plain texts are",
        ),
        (["data", "lst"], "unknown data command 'lst'; did you mean list?"),
        (["data", "list", "subj"], "unknown argument 'subj'"),
        (["data", "fetch"], "data fetch: name the corpora to get, or give --all"),
        (["data", "fetch", "subj", "--all"], "data fetch: name the corpora to get, or give --all"),
        (["data", "fetch", "wikigold", "sub"], "unknown corpus 'sub'; did you mean subj?"),
        (
            ["train", "name-generator", "--data", "gutenberg"],
            "the corpus 'gutenberg' has no files of categories; names have",
        ),
        (["train", "name-generator", "--data", "text.txt"], "text.txt is no folder; expected a folder with a file for"),
        (["train", "name-generator", "--data", "there"], "the folder there has no files; expected files of categories"),
        (["generate", "x", "-n", "none"], "-n/--number: expected a whole number of at least 1, not 'none'"),
        (["train", "gpt", "--data", "."], "cannot read the text '.': Is a directory"),
        (["train", "gpt", "--data", "empty.txt"], "'empty.txt' is empty"),
        (["train", "gpt", "--data", "latin.txt"], "'latin.txt' is not UTF-8: byte 0xe9 at offset 3"),
        (["train", "gpt", "--data", "short.txt"], "the text has 100 tokens, too few for blocks of 64"),
        (["train", "gpt", "--data", "text.txt", "--block-size", "8", "--out", "there"], "there exists already"),
        (["train", "gpt", "--device", "cuda", "--data", "text.txt", "--block-size", "8"], "CuPy"),
        (["train", "gpt", "--device", "tpu"], "--device: expected cpu, cuda or cuda:N, not 'tpu'"),
    ],
)
def test_a_mistake_gets_one_sentence_and_leaves_nothing_behind(capsys, here, arguments, sentence):
    if "cuda" in arguments and importlib.util.find_spec("cupy"):
        pytest.skip("CuPy is here")
    (here / "empty.txt").write_bytes(b"")
    (here / "latin.txt").write_bytes("café au lait".encode("latin-1"))
    (here / "short.txt").write_text("0123456789" * 10)
    (here / "there").mkdir()
    before = sorted(here.rglob("*"))
    assert sentence in refused(capsys, *arguments)
    assert sorted(here.rglob("*")) == before


def copied(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.mark.parametrize("command", [["generate"], ["train", "gpt", "--steps", "9", "--resume"]])
def test_a_checkpoint_cut_in_half_is_named(capsys, trained, tmp_path, command):
    folder = copied(trained, tmp_path)
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refused(capsys, *command, folder).startswith(f"{path} is damaged or incomplete")


@pytest.mark.parametrize("command", [["generate"], ["train", "gpt", "--steps", "9", "--resume"]])
def test_a_checkpoint_of_another_model_is_named(capsys, trained, tmp_path, command):
    folder = copied(trained, tmp_path)
    path = folder / "checkpoint.safetensors"
    state = load_checkpoint(path)
    save_checkpoint(path, state | {"name": "rnn"})
    sentence = refused(capsys, *command, folder)
    assert str(folder) in sentence
    assert "'rnn'" in sentence
    wider = {name: w.repeat(2, axis=-1) for name, w in state["model"].items()}
    save_checkpoint(path, state | {"model": wider})
    assert str(folder) in (sentence := refused(capsys, *command, folder))
    assert "not those of its model" in sentence
    save_checkpoint(path, state | {"model": dict(list(state["model"].items())[1:])})
    assert "not those of its model" in refused(capsys, *command, folder)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--steps", "9", "--width", "16"], "--width was 8 when the run began and cannot become 16 now"),
        (["--steps", "9", "--lr", "0.1"], "--lr was 0.003 when the run began and cannot become 0.1 now"),
        (["--steps", "9", "--data", "text.txt"], "text.txt is not the text that"),
        ([], "has made its 2 steps; to go on name more, as --steps 4"),
    ],
)
def test_a_run_goes_on_as_it_began_or_not_at_all(capsys, here, trained, options, sentence):
    (here / "text.txt").write_text("something else " * 40)
    before = (trained / "checkpoint.safetensors").read_bytes()
    assert sentence in refused(capsys, "train", "gpt", "--resume", trained, *options)
    assert (trained / "checkpoint.safetensors").read_bytes() == before


def test_the_same_command_again_with_resume_is_fine(capsys, trained, tmp_path):
    folder = copied(trained, tmp_path)
    again = [*TINY, "--steps", "4", "--resume", str(folder), "--quiet"]
    assert main(["train", "gpt", "--data", str(trained.parent / "text.txt"), *again]) == 0
    assert capsys.readouterr().out == f"{folder}\n"


def test_a_prompt_with_an_unseen_character_is_refused(capsys, trained):
    sentence = refused(capsys, "generate", trained, "--prompt", "abc é")
    assert "'é' (U+00E9, at position 4) is not among the 9 characters of the training text" in sentence


@pytest.mark.parametrize("asked", [["--category", "Italian"], ["-n", "2"]])
def test_a_model_that_knows_no_categories_is_asked_for_none(capsys, trained, asked):
    sentence = refused(capsys, "generate", trained, *asked)
    assert sentence == "a model 'gpt' continues one text and knows no categories; leave out --category and --number"


def test_training_on_a_text_of_one_character_works(here, capsys):
    (here / "text.txt").write_text("a" * 200)
    assert main(["train", "gpt", "--data", "text.txt", *TINY]) == 0
    out, err = capsys.readouterr()
    assert "validation  0.0000 nats = 0.0000 bits per character" in out
    assert re.search(r"run folder: runs/gpt-001", err)


@pytest.mark.parametrize("every", [1, 50])
def test_divergence_is_said_and_does_not_reach_the_checkpoint(here, capsys, every):
    wild = [*TINY, *options(lr=1e30, clip=0, steps=50, eval_every=every)]
    sentence = refused(capsys, "train", "gpt", "--data", "text.txt", *wild, "--quiet")
    assert "training has diverged: " in sentence
    assert "begin again with a smaller --lr" in sentence
    assert load_checkpoint(here / "runs" / "gpt-001")["step"] == 0
