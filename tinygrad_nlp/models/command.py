"""`generate` and `predict`: a trained model at work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nlp_kernels.errors import UserError

from tinygrad_nlp.autograd import no_grad
from tinygrad_nlp.autograd.devices import library_of
from tinygrad_nlp.command_line import Parser, add_machine_options, me, one_of, use_threads
from tinygrad_nlp.models import MODELS, find
from tinygrad_nlp.train.checkpoint import load_checkpoint, restore
from tinygrad_nlp.train.options import add_options, given
from tinygrad_nlp.train.writing import Writing

GENERATE_EXAMPLES = """examples:
  {me} generate runs/gpt-001 --prompt "The " --temperature 0.8 --top-p 0.95
  {me} generate runs/gpt-001 --prompt "class " --temperature 0
  {me} generate runs/name-generator-001 --category Italian -n 10

A character costs the work of one position. Once the text is longer than a GPT's block, the model sees only the last
characters of it and computes them anew for each new one. A recurrent network carries its state: a word or character
is always one step; it writes no <unk>, and words of the prompt that it does not know are <unk> to it. A generator of
names writes one after the other, each to its own end and each beginning with the prompt."""

PREDICT_EXAMPLES = """examples:
  {me} predict runs/classifier-001 "a smart and touching film"
  {me} predict runs/classifier-001 < reviews.txt     a text a line, a line for each"""


def generate(argv: list[str]) -> int:
    """`generate RUN`: the model of a run continues a text, token by token, or writes names of a category."""
    parser = Parser(
        prog=f"{me()} generate",
        usage=f"{me()} generate RUN [options]",
        description="Let a trained model continue a text, or write names of a category.",
        epilog=GENERATE_EXAMPLES.format(me=me()),
    )
    parser.add_argument("run", metavar="RUN", help="a run folder, as runs/gpt-001, or the checkpoint in it")
    add_options(parser, Writing)
    add_machine_options(parser)
    arguments = parser.parse(argv)
    use_threads(arguments.threads)
    writing = Writing(**given(arguments, Writing))
    model, state, run_class = _opened(Path(arguments.run), arguments.device)
    if not run_class.writes:
        raise UserError(f"{arguments.run} holds a model {state['name']!r}, which does not write")
    for piece in run_class.write(model, state, writing):
        print(piece, end="", flush=True)
    print()
    return 0


def predict(argv: list[str]) -> int:
    """`predict RUN TEXT …`: a line for each text."""
    parser = Parser(
        prog=f"{me()} predict",
        usage=f"{me()} predict RUN [TEXT …]",
        description="What a trained model makes of texts: those named, or the lines of the standard input.",
        epilog=PREDICT_EXAMPLES.format(me=me()),
    )
    parser.add_argument("run", metavar="RUN", help="a run folder, as runs/classifier-001, or the checkpoint in it")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="a text; quote it")
    add_machine_options(parser)
    arguments = parser.parse(argv)
    use_threads(arguments.threads)
    model, state, run_class = _opened(Path(arguments.run), arguments.device)
    if not run_class.predicts:
        raise UserError(f"{arguments.run} holds a model {state['name']!r}, which does not predict")
    say = run_class.predictor(model, state)
    with no_grad():
        for text in arguments.texts or sys.stdin:
            print(say(text.rstrip("\n")), flush=True)
    return 0


def _opened(path: Path, device: str) -> tuple[Any, dict[str, Any], Any]:
    """(model, its checkpoint, run class) of a run folder."""
    library_of(device)  # one that is not there is told at once
    state = load_checkpoint(path)
    name = one_of(state.get("name"), MODELS, f"model in {path}:")  # of a later version, or of another program
    model_class, config_class, run_class = find(name)
    return restore(state, path, model_class, config_class, device), state, run_class
