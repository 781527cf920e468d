"""Who is timed in a row: our backends and the peers, each warmed up once it has agreed with the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from nlp_kernels import dispatch
from nlp_kernels.errors import BackendError

from benchmarks.agreement import DisagreementError, assert_agreement
from benchmarks.gpu import peers
from benchmarks.gpu.clock import Calls, Clock
from benchmarks.gpu.passes import Call, Pass, Subject
from benchmarks.gpu.results import Found
from benchmarks.hot_path import Work, served

Setting = Callable[[], AbstractContextManager]
Timed = tuple[str, Setting, Calls]


@dataclass
class Row:
    """One pass over one size: on these sets of inputs, each of them a call of a window."""

    subject: Subject
    label: str
    pass_: Pass
    works: list[Work]
    clock: Clock
    found: Found  # for what is missing
    first: Work = field(init=False, repr=False)  # what is checked
    right: dict[str, Any] = field(init=False, repr=False)

    def timed(self, names: tuple[str, ...], compiled: peers.Compiled) -> Iterator[Timed]:
        """Our backends, the kernels first, and the peers of these names. DisagreementError where ours disagree."""
        self.first = self.works[0]
        if self.subject.benchmark.in_place:  # whoever is timed changes what the next would be checked by
            self.first = _copied(self.first)
        self.right = self._right()
        yield from self._ours()
        yield from self._peers(names, compiled)
        del self.first, self.right

    def _ours(self) -> Iterator[Timed]:
        for backend in served(self.subject.name, "cuda"):
            setting = partial(dispatch.use_backend, backend, self.subject.name)
            try:
                with setting():
                    calls = self._agreed(f"backend {backend!r}", self._bound)
            except BackendError as error:
                self.found.left_out(self.label, backend, error)
            else:
                yield backend, setting, calls

    def _peers(self, names: tuple[str, ...], compiled: peers.Compiled) -> Iterator[Timed]:
        for name in names:
            bind = partial(peers.bound, name, self.subject, self.pass_, compiled=compiled)
            try:
                calls = self._agreed(peers.PEERS[name], bind)
            except DisagreementError as error:  # refused, and ours are still worth having
                self.found.failed(f"{self.label}, {peers.PEERS[name]}", error)
            except peers.WithoutError:
                continue
            except Exception as error:  # not installed, no memory, or whatever a compiler stumbles over
                self.found.left_out(self.label, name, error)
            else:
                yield name, nullcontext, calls

    def _bound(self, works: list[Work]) -> list[Call]:
        return [self.pass_.bind(**work.arrays, **work.hyper) for work in works]

    def _right(self) -> dict[str, Any]:
        """What the reference gives: on the card, or on the host where CuPy cannot run it."""
        work = _copied(self.first)
        work = replace(work, arrays={name: _widened(x) for name, x in work.arrays.items()})
        with dispatch.use_backend("reference", self.subject.name):
            try:
                return self._bound([work])[0]()
            except Exception as error:
                self.found.left_out(self.label, "reference", error)
            host = replace(work, arrays={name: x.get() for name, x in work.arrays.items()})
            return {name: self.clock.cupy.asarray(np.asarray(x)) for name, x in self._bound([host])[0]().items()}

    def _agreed(self, who: str, bind: Callable[[list[Work]], list[Call]]) -> Calls:
        """The calls, after one that is checked: on copies where it writes to its inputs."""
        work = _copied(self.first) if self.subject.benchmark.in_place else self.first
        trial = bind([work])[0]
        what = f"{self.subject.name} {self.label}, {who}"
        assert_agreement(what, trial(), self.right, work.terms, peers.to_cupy)
        del trial
        calls = Calls(self.clock, bind(self.works))
        calls.warm_up()
        return calls


def _widened(x: Any) -> Any:
    """What is right for bfloat16 is computed in float32, of the same numbers."""
    return x.astype(np.float32) if x.dtype.name == "bfloat16" else x


def _copied(work: Work) -> Work:
    return replace(work, arrays={name: x.copy() for name, x in work.arrays.items()})
