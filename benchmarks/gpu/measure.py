"""One hot path on a GPU: every pass over every size agrees with the reference, then all candidates run in turn.

python -m benchmarks.softmax --device cuda                  all sizes; results/<card>/softmax.json
python -m benchmarks.softmax --device cuda --only 4096      what has this in its label; nothing is saved
"""

from __future__ import annotations

import argparse
import gc
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.command import show
from benchmarks.compare import Candidate, interleaved, machine, summary
from benchmarks.gpu import ceilings, device, inputs, passes, peers, results, verdicts
from benchmarks.gpu.candidates import Row, Timed
from benchmarks.gpu.clock import Calls, Clock
from benchmarks.gpu.passes import Subject
from benchmarks.gpu.roofs import roofs
from benchmarks.hot_path import Work

COMPILE_S = 3.0  # seconds left for each row, under which torch.compile is left out
AT_MOST_S, MOST = 1.5, 50  # of a row's rounds


@dataclass
class Session:
    """What the rows of a hot path share, and what they have found so far."""

    subject: Subject
    args: argparse.Namespace
    random: inputs.Random
    clock: Clock
    deadline: float
    roofs: dict[str, float]
    found: results.Found = field(default_factory=results.Found)

    def take(self, n: int) -> Any:
        return self.random.standard_normal(n, inputs.drawn_in(self.args.dtype))

    def share(self, rows_left: int) -> float:
        """Seconds for the next row."""
        return max(self.deadline - time.perf_counter(), 0.0) / max(rows_left, 1)


def parser(name: str) -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=__doc__, formatter_class=form)
    options.add_argument("--device", choices=("cuda",), required=True)
    options.add_argument("--minutes", type=float, default=4.0, help="fewer rounds rather than more time (default 4)")
    options.add_argument("--dtype", choices=passes.DTYPES, default="float32")
    options.add_argument("--peers", nargs="*", choices=tuple(peers.PEERS), help="default: all; else nothing is saved")
    options.add_argument("--only", metavar="TEXT", help="works with this in their label; nothing is saved")
    options.add_argument("--quick", action="store_true", help="tiny shapes, two rounds, nothing is saved")
    return options


def main(name: str, argv: list[str] | None = None) -> dict[str, dict]:
    """Rows by label and candidate, shown and saved; exits with 1 where a row failed."""
    options = parser(name)
    args = options.parse_args(argv)
    if name not in passes.known():
        options.error(f"{name} has nothing to measure on a GPU; {', '.join(passes.known())} have")
    if args.dtype == "bfloat16" and "bfloat16" not in passes.dtypes(name):
        options.error(f"{name} is not measured in bfloat16")
    device.needed(options)
    session = _begin(passes.subject(name, args.dtype), args)
    _measure(session)
    found = session.found
    if _kept(args):
        found.save(name, session.roofs, args.dtype, complete=True)
    data = found.data(name, session.roofs, args.dtype)
    show(f"{name}, {machine('cuda')}", results.caption(data), results.lines(data))
    if found.failures:
        raise SystemExit(1)
    return found.rows


def _begin(subject: Subject, args: argparse.Namespace) -> Session:
    start = time.perf_counter()
    random = inputs.Random(1001 if args.quick else inputs.DRAWN)
    take = partial(random.standard_normal, dtype=inputs.drawn_in(args.dtype))
    clock = Clock(take, idle=args.quick)
    above = {} if args.quick else roofs(clock, take, clock.memory)
    return Session(subject, args, random, clock, start + 60 * args.minutes, above)


def _measure(session: Session) -> None:
    benchmark = session.subject.benchmark
    sizes = benchmark.quick if session.args.quick else benchmark.sizes
    for i, size in enumerate(sizes):
        try:
            _of_size(session, size, (len(sizes) - i) * len(session.subject.passes))
        except Exception as error:  # no memory for the inputs, or the card is lost
            session.found.failed(f"{benchmark.name} {size}", error)
        _free(session.clock.cupy)


def _of_size(session: Session, size: tuple, rows_left: int) -> None:
    subject, args, found = session.subject, session.args, session.found
    draw = partial(inputs.work, subject.benchmark, session.random, args.dtype, size)
    works = [draw()]
    labels = {name: f"{works[0].label}, {name}" for name in subject.passes}
    wanted = {name: label for name, label in labels.items() if args.only is None or args.only in label}
    if not wanted:
        return
    works += [draw() for _ in range(_sets(session, works[0], wanted) - 1)]
    compiled = peers.Compiled(subject, works[0].hyper)
    for i, (name, label) in enumerate(wanted.items()):
        row = Row(subject, label, subject.passes[name], works, session.clock, found)
        try:
            _of_row(session, row, size, compiled, session.share(rows_left - i))
        except Exception as error:  # the other rows are worth having
            found.failed(label, error)
        if _kept(args):
            found.save(subject.name, session.roofs, args.dtype, complete=False)


def _kept(args: argparse.Namespace) -> bool:
    return not args.quick and args.only is None and args.peers is None


def _sets(session: Session, work: Work, wanted: dict[str, str]) -> int:
    if session.args.quick:
        return 2
    nbytes = [session.subject.passes[name].counts(work)[0] for name in wanted]
    rate = session.roofs["copy_gb_per_s"] * 1e9
    return inputs.sets((min(nbytes), max(nbytes)), rate, session.clock.memory)


def _of_row(session: Session, row: Row, size: tuple, compiled: peers.Compiled, seconds: float) -> None:
    """Time all candidates of a row in turn, within half of the seconds that it has."""
    args, found, pass_ = session.args, session.found, row.pass_
    nbytes, flops = pass_.counts(row.works[0])
    timed = [*row.timed(_wanted(session, row, seconds), compiled), *_ceilings(session, row, nbytes)]
    bounds: dict[str, Any] = {"seconds": min(0.5 * seconds, AT_MOST_S), "most": MOST}
    bounds = {"fewest": 2, "most": 2} if args.quick else bounds
    candidates = {who: Candidate(calls.seconds, setting) for who, setting, calls in timed}
    times = interleaved(candidates, **bounds, warm=0.0, timed=lambda run, warm: (run(), False))
    found.rows[row.label] = {who: summary(times[who], per=len(row.works)) | calls.host() for who, _, calls in timed}
    if "compile" in times:
        found.rows[row.label]["compile"]["compile_s"] = compiled.compile_s
    facts = {"bytes": nbytes, "flops": flops, "calls": len(row.works), "ceiling": pass_.ceiling}
    found.works[row.label] = facts
    found.verdicts += verdicts.judged(row.label, times, pass_.bars(*size), pass_.ceiling)


def _wanted(session: Session, row: Row, seconds: float) -> tuple[str, ...]:
    """The peers that there is time for."""
    args = session.args
    wanted = tuple(peers.PEERS) if args.peers is None else tuple(args.peers)
    if seconds >= COMPILE_S and not args.quick:
        return wanted
    if "compile" in wanted and row.pass_.compiled and not args.quick:
        session.found.left_out(row.label, "compile", "the time is nearly spent")
    return tuple(who for who in wanted if who != "compile")


def _ceilings(session: Session, row: Row, nbytes: int) -> list[Timed]:
    found: list[Timed] = []
    for who, calls in ceilings.calls(session.take, nbytes, len(row.works), row.pass_.ceiling).items():
        timer = Calls(session.clock, calls)
        timer.warm_up()
        found.append((who, nullcontext, timer))
    return found


def _free(cupy: Any) -> None:
    """Give back what the rows of a size held."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    with suppress(ImportError):
        import_module("torch").cuda.empty_cache()
