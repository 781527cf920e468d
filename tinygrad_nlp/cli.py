"""The command `tinygrad-nlp`: train a model, let it write, look at graphs, examine the machine."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from nlp_kernels.common.memory import keep_freed_memory

from tinygrad_nlp import TinygradError, UserError, __version__
from tinygrad_nlp.autograd.devices import library_of
from tinygrad_nlp.command_line import Parser, add_machine_options, command, me, one_of, use_threads
from tinygrad_nlp.models import MODELS, find
from tinygrad_nlp.train.options import add_options, given

STUDIES = {  # name: module with main(argv)
    "graph": "tinygrad_nlp.study.graph",
    "gradient-flow": "tinygrad_nlp.study.gradient_flow",
    "adding-problem": "tinygrad_nlp.study.adding_problem",
}

HELP = """usage: {me} COMMAND …

From-scratch automatic differentiation with hand-written kernels, and the models of a course on language.

commands:
  train MODEL      train a model on a text, or continue a run ({models})
  generate RUN     let a trained model write
  predict RUN      what a trained model makes of a text: its class, its tags
  check M:F        are the gradients of function F in module M right?
  study NAME       look inside the library ({studies})
  data list        corpora that can be had by name, as --data gutenberg; data fetch NAME gets one
  doctor           what this machine has, what is missing, how to get it
  warmup           compile the kernels now instead of when they first run

examples:
  {me} train gpt                                 a few minutes on two cores, no download
  {me} train gpt --data book.txt --steps 5000    on your own text
  {me} train gpt --data gutenberg                on seventeen books, fetched once
  {me} train gpt --resume runs/gpt-001           go on after Ctrl-C
  {me} train language-model --cell lstm          word by word, with a recurrent network
  {me} train classifier --data subj              which class a sentence has
  {me} train tagger --data wikigold              the named entities of a sentence
  {me} train name-generator                      surnames of 18 languages
  {me} generate runs/gpt-001 --prompt "The " --temperature 0.8
  {me} generate runs/name-generator-001 --category Italian
  {me} predict runs/classifier-001 "a smart and touching film"
  {me} check tinygrad_nlp:softmax --shape 3,4    or a function of yours

Every command explains its options: {me} COMMAND --help.  The version: {me} --version."""

TRAIN_EXAMPLES = """examples:
{examples}

Ctrl-C stops after the current step and leaves a run that --resume continues, bit for bit."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 2 bad input (one sentence), 128 + n stopped by signal n."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters still gets the rest
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except TinygradError as error:
        return _complain(str(error), 2)
    except MemoryError as error:
        return _complain(f"not enough memory ({error}); try a smaller --batch-size, --block-size or --width", 2)
    except KeyboardInterrupt:
        return _complain("stopped at once; a run goes on from its last checkpoint with --resume", 130)
    except BrokenPipeError:  # whoever read the output has gone, as in `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(argv: list[str]) -> int:
    commands = {"train": train, "generate": generate, "predict": predict, "check": check, "study": study}
    commands |= {"data": data, "doctor": doctor, "warmup": warmup}
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name == "--version":
        print("tinygrad-nlp", __version__)
    elif name in ("-h", "--help"):
        print(HELP.format(me=me(), models=", ".join(MODELS), studies=", ".join(STUDIES)))
    else:
        return commands[one_of(name, commands, "command")](rest)
    return 0 if argv else 2


def train(argv: list[str]) -> int:
    """`train MODEL`: a new run, or the rest of an old one."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {me()} train MODEL …\n\nmodels: {', '.join(MODELS)}; their options: {me()} train MODEL --help")
        return 0 if argv else 2
    name = one_of(argv[0], MODELS, "model")
    from tinygrad_nlp.train.progress import reporter
    from tinygrad_nlp.train.run_folder import RunFolder

    model_class, config_class, run_class = find(name)
    parser = Parser(
        prog=f"{me()} train {name}",
        usage=f"{me()} train {name} [options]",
        description=run_class.about.format(name=name, NAME=name.upper()),
        epilog=TRAIN_EXAMPLES.format(examples=run_class.examples.format(me=me(), name=name)),
    )
    about_run = parser.add_argument_group("run")
    about_run.add_argument("--out", metavar="DIR", help=f"a new folder for the run (default: the next runs/{name}-NNN)")
    about_run.add_argument("--resume", metavar="RUN", help="go on with this run; its model and text stay as they were")
    add_machine_options(about_run)
    about_run.add_argument("--quiet", action="store_true", help="print nothing but the run folder")
    add_options(parser.add_argument_group("model"), config_class)
    add_options(parser.add_argument_group("training"), run_class.settings_class)
    arguments = parser.parse(argv[1:])
    use_threads(arguments.threads)
    library_of(arguments.device)  # one that is not there is told at once
    keep_freed_memory()  # this process is ours, and a training step asks for the same sizes again and again
    options, settings = given(arguments, config_class), given(arguments, run_class.settings_class)
    if arguments.resume is None:
        chosen = run_class.settings_class(**settings)
        run_class.fetch_data(chosen.data, quiet=arguments.quiet)
        run = run_class(name, model_class, config_class, options, chosen, arguments.device)
        folder = RunFolder.create(name, arguments.out)
    elif arguments.out is None:
        folder = RunFolder.existing(arguments.resume)
        run_class.fetch_data(settings.get("data"), quiet=arguments.quiet)
        run = run_class.resume(folder, name, model_class, config_class, options | settings, arguments.device)
    else:
        raise UserError("--out begins a new run and --resume goes on with an old one: give one of them")
    steps = run.settings.steps
    if not arguments.quiet:
        print(run.description(), f"run folder: {folder.path}", sep="\n", file=sys.stderr)
    outcome = run.train(folder, reporter(name, run.step, steps, quiet=arguments.quiet))
    if outcome.signal_number:
        again = command("train", name, "--resume", folder.path)
        print(f"stopped at step {outcome.step} of {steps}; go on with\n  {again}", file=sys.stderr)
        return 128 + outcome.signal_number
    if arguments.quiet:
        print(folder.path)
        return 0
    for sample in outcome.samples:
        print(f"{' sample ':─^80}\n{sample.strip()}")
    print(f"{' result ':─^80}\n{outcome.summary()}")
    print(f"files       {folder.path}: {', '.join(folder.files())}")
    if run.writes:
        print(f"write       {command('generate', folder.path, *run.suggestion)}")
    if run.predicts:
        print(f"predict     {command('predict', folder.path, 'a text of yours')}")
    print(f"go on       {command('train', name, '--resume', folder.path, '--steps', 2 * steps)}")
    return 0


def generate(argv: list[str]) -> int:
    """`generate RUN`: the model of a run continues a text, token by token."""
    from tinygrad_nlp.models.command import generate

    return generate(argv)


def predict(argv: list[str]) -> int:
    """`predict RUN TEXT …`: what the model of a run makes of a text."""
    from tinygrad_nlp.models.command import predict

    return predict(argv)


def study(argv: list[str]) -> int:
    """`study NAME`: hand over to the study's own command line."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {me()} study NAME …\n\nstudies: {', '.join(STUDIES)}")
        return 0 if argv else 2
    return importlib.import_module(STUDIES[one_of(argv[0], STUDIES, "study")]).main(argv[1:]) or 0


def check(argv: list[str]) -> int:
    """`check MODULE:FUNCTION`: the gradients of a function against oracles that know nothing of its rules."""
    from tinygrad_nlp.study.check import main

    return main(argv)


def data(argv: list[str]) -> int:
    """`data list` and `data fetch NAME …`: the corpora that can be had by name."""
    from tinygrad_nlp.text.command import main

    return main(argv)


def doctor(argv: list[str]) -> int:
    """`doctor`: what is here and what is missing."""
    Parser(prog=f"{me()} doctor", description="What this machine has, what is missing, how to get it.").parse(argv)
    from tinygrad_nlp.doctor import report

    return report()


def warmup(argv: list[str]) -> int:
    """`warmup`: compile every CPU kernel."""
    from tinygrad_nlp.warmup import DTYPES, warm_up

    parser = Parser(
        prog=f"{me()} warmup",
        description="Compile every CPU kernel for this machine, once; later runs load them in milliseconds.\n"
        "They are kept in the user's cache folder, or in the one that TINYGRAD_NLP_CACHE names.",
    )
    parser.add_argument("--dtype", choices=DTYPES, help="only for this precision (default: for both)")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    arguments = parser.parse(argv)
    done = warm_up((arguments.dtype,) if arguments.dtype else DTYPES, quiet=arguments.quiet)
    if not arguments.quiet:
        print(done)
    return 0


def _complain(message: str, status: int) -> int:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"tinygrad-nlp: {message}", file=sys.stderr)
    return status
