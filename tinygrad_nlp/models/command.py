"""`generate` and `predict`: a trained model at work."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlp_kernels.errors import UserError

from tinygrad_nlp.autograd import no_grad
from tinygrad_nlp.command_line import Parser, add_machine_options, me, one_of, use_threads
from tinygrad_nlp.models import MODELS, find
from tinygrad_nlp.random import Generator
from tinygrad_nlp.train.checkpoint import load_checkpoint
from tinygrad_nlp.train.options import Options, add_options, given, option
from tinygrad_nlp.train.run import restore

GENERATE_EXAMPLES = """examples:
  {me} generate runs/gpt-001 --prompt "The " --temperature 0.8 --top-p 0.95
  {me} generate runs/gpt-001 --prompt "class " --temperature 0

A character costs the work of one position. Once the text is longer than a GPT's block, the model sees only the last
characters of it and computes them anew for each new one. A recurrent network carries its state: a word or character
is always one step; it writes no <unk>, and words of the prompt that it does not know are <unk> to it."""

PREDICT_EXAMPLES = """examples:
  {me} predict runs/classifier-001 "a smart and touching film"
  {me} predict runs/classifier-001 < reviews.txt     a text a line, a line for each"""


@dataclass(frozen=True)
class Writing(Options):
    """How `generate` writes."""

    prompt: str = option("", "the text to continue (default: the end of a line or sentence)")
    length: int = option(500, "characters to write, or words", low=1)
    temperature: float = option(0.8, "below 1 safer, above 1 wilder, 0 always the likeliest", low=0)
    top_k: int | None = option(None, "draw only among the N likeliest characters, or words", kind=int, low=1)
    top_p: float | None = option(
        None, "draw only among the fewest that together have probability X", kind=float, low=1e-9, high=1
    )
    seed: int = option(0, "the same seed writes the same text", low=0)


def generate(argv: list[str]) -> int:
    """`generate RUN`: the model of a run continues a text, token by token."""
    parser = Parser(
        prog=f"{me()} generate",
        usage=f"{me()} generate RUN [options]",
        description="Let a trained model continue a text.",
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
    tokenizer = run_class.tokenizer_of(state)
    choice = {"temperature": writing.temperature, "top_k": writing.top_k, "top_p": writing.top_p}
    pieces = run_class.write(
        model, tokenizer, writing.prompt, writing.length, generator=Generator(writing.seed), **choice
    )
    print(writing.prompt, end="", flush=True)
    for piece in pieces:
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
    state = load_checkpoint(path)
    name = one_of(state.get("name"), MODELS, f"model in {path}:")  # of a later version, or of another program
    model_class, config_class, run_class = find(name)
    return restore(state, path, model_class, config_class, device), state, run_class
