"""How good each model becomes, here and in PyTorch: the same weights to begin with, batches, steps and optimiser.

python -m benchmarks.quality                        every case, three seeds each; about an hour on two cores
python -m benchmarks.quality --case subj            one; --seeds 1 2: other seeds; --quick: two steps, nothing saved
python -m benchmarks.quality --steps 500            fewer steps than the defaults, nothing saved
python -m benchmarks.quality --jobs 1               one run at a time, on all cores (default: a run on each core)

What is done already is kept, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

import tinygrad_nlp as tn
from benchmarks.compare import RESULTS
from benchmarks.tables import markdown
from tinygrad_nlp import no_grad
from tinygrad_nlp.models import find
from tinygrad_nlp.text import perplexity
from tinygrad_nlp.train.loop import training_steps
from tinygrad_nlp.train.run import decay_groups

SEEDS = (1337, 1338, 1339)
FILE = RESULTS / "quality.json"  # of no machine: what is learnt hardly depends on it


@dataclass(frozen=True)
class Case:
    """A model trained with its defaults but for these; `measure` is what the table shows."""

    model: str
    options: dict
    settings: dict
    measure: str

    @property
    def label(self) -> str:
        return ", ".join([self.model, *(f"{k} {v}" for k, v in self.options.items())])


CASES = {
    "subj": Case("classifier", {"cell": "gru"}, {"data": "subj"}, "accuracy"),
    "subj-mean": Case("classifier", {"cell": "none"}, {"data": "subj"}, "accuracy"),
    "custrev": Case("classifier", {"cell": "gru"}, {"data": "custrev"}, "accuracy"),
    "custrev-mean": Case("classifier", {"cell": "none"}, {"data": "custrev"}, "accuracy"),
    "wikigold-window": Case("window-classifier", {}, {"data": "wikigold"}, "f1"),
    "wikigold-forward": Case("tagger", {"directions": 1}, {"data": "wikigold"}, "f1"),
    "wikigold": Case("tagger", {"directions": 2}, {"data": "wikigold"}, "f1"),
    "btc-window": Case("window-classifier", {}, {"data": "btc"}, "f1"),
    "btc-forward": Case("tagger", {"directions": 1}, {"data": "btc"}, "f1"),
    "btc": Case("tagger", {"directions": 2}, {"data": "btc"}, "f1"),
    "scorer": Case("window-scorer", {}, {"data": "wikigold"}, "accuracy"),
    "names": Case("name-generator", {}, {"data": "names"}, "loss"),
    "state_union": Case("language-model", {"cell": "lstm"}, {"data": "state_union"}, "perplexity"),
}
NAMES = {"loss": "nats per character", "f1": "F1"}  # of measures that are not called what a person calls them
WHO = {"ours": "tinygrad-nlp", "torch": "PyTorch"}


def measured(who: str, case: Case, seed: int, steps: int | None, threads: int) -> float:
    """Train and judge one model."""
    tn.set_num_threads(threads)
    model_class, config_class, run_class = find(case.model)
    steps = {} if steps is None else {"steps": steps, "warmup": 1}
    settings = run_class.settings_class(**case.settings, **steps, seed=seed)
    run = run_class(case.model, model_class, config_class, case.options, settings)
    if who == "ours":
        for _ in training_steps(
            run.model, run.optimizer, run.batch_loss, run.schedule, first=1, last=settings.steps, clip=settings.clip
        ):
            pass
        return judged(run, case.measure)
    return trained_by_torch(run, case.measure, threads)


def trained_by_torch(run, measure: str, threads: int) -> float:
    """The same run with PyTorch's modules, gradients and optimiser; only the masks of dropout are others."""
    import torch

    from benchmarks.peers.torch_models import twin_of

    torch.set_num_threads(threads)
    torch.manual_seed(run.settings.seed)
    twin, settings = twin_of(run.model), run.settings
    refuse_disagreement(run, twin)
    run.model = twin
    optimizer = torch.optim.AdamW(
        decay_groups(twin, settings.weight_decay), lr=settings.lr, betas=(settings.beta1, settings.beta2)
    )
    for step in range(1, settings.steps + 1):
        twin.train()
        for group in optimizer.param_groups:
            group["lr"] = run.schedule(step)
        optimizer.zero_grad()
        run.batch_loss().backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), settings.clip or math.inf)
        optimizer.step()
    with torch.no_grad():
        return judged(run, measure)


def refuse_disagreement(run, twin) -> None:
    """Without dropout and untrained, both must have the same loss of the first batch."""
    ours, start, losses = run.model, run.cursor, []
    for model in (ours, twin):
        run.model, run.cursor = model.eval(), start
        losses.append(float(run.batch_loss().item()))
    run.model, run.cursor = ours, start
    np.testing.assert_allclose(*losses, rtol=1e-5)


def judged(run, measure: str) -> float:
    """The measure on the test part; a language model's on the validation part, by which nothing was chosen."""
    if measure == "perplexity":
        return perplexity(run.evaluate())
    with no_grad():
        return run.judge("test")[measure]


def main(argv: list[str] | None = None) -> None:
    """Measure what is missing, and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    options.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    options.add_argument("--steps", type=int)
    options.add_argument("--quick", action="store_true")
    args = options.parse_args(argv)
    seeds, steps = ([0], 2) if args.quick else (args.seeds, args.steps)
    rows = json.loads(FILE.read_text()) if FILE.exists() and steps is None else {}
    wanted = [(name, who, seed) for name in args.case for seed in seeds for who in WHO]
    for case in (CASES[name] for name in args.case):
        find(case.model)[2].fetch_data(case.settings["data"], quiet=False)  # once, before the processes
    missing = [key for key in wanted if str(key[2]) not in rows.get(key[0], {}).get(key[1], {})]
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}  # of the processes that follow
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        runs = {pool.submit(measured, key[1], CASES[key[0]], key[2], steps, threads): key for key in missing}
        for done in as_completed(runs):
            name, who, seed = runs[done]
            rows.setdefault(name, {}).setdefault(who, {})[str(seed)] = done.result()
            print(f"{name:<20}{WHO[who]:<14}seed {seed}  {CASES[name].measure} {done.result():.4f}", flush=True)
            if steps is None:
                FILE.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(markdown(table({name: rows[name] for name in args.case}))))


def table(rows: dict) -> list[tuple[str, ...]]:
    """The header first: mean (least – most) of the seeds of both; their difference, and the wider of the two ranges."""
    text = [("model", "data", "measure", *WHO.values(), "difference", "range of the seeds")]
    for name, case in CASES.items():
        ours, theirs = (np.array(list(rows.get(name, {}).get(who, {}).values())) for who in WHO)
        if ours.size and theirs.size:
            form = {"perplexity": "{:.1f}", "loss": "{:.3f}"}.get(case.measure, "{:.1%}")
            cells = (
                f"{form.format(x.mean())} ({form.format(x.min())} – {form.format(x.max())})" for x in (ours, theirs)
            )
            beside = ours.mean() - theirs.mean(), max(np.ptp(ours), np.ptp(theirs))
            text.append(
                (
                    case.label,
                    case.settings["data"],
                    NAMES.get(case.measure, case.measure),
                    *cells,
                    *map(form.format, beside),
                )
            )
    return text


if __name__ == "__main__":
    main()
