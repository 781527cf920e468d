"""One assertion over many drawn arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tinygrad_nlp.autograd.check import GradientError, VacuousError, check_grads
from tinygrad_nlp.autograd.checking.diagnosis import UNKNOWN

FAILURES = 10  # wrong gradients without a diagnosis, after which no better one is looked for


def assert_gradients(
    f: Callable, *strategies: st.SearchStrategy, order: int = 2, max_examples: int | None = None, **options: Any
) -> None:
    """Assert that the gradients of f are right for arguments drawn from the strategies, to the order asked for.

    Each strategy draws one argument, or a tuple of several whose shapes depend on each other. `options` are those of
    `check_grads`. A draw whose gradient is zero everywhere, as that of softmax over one place, is checked for being so;
    if all draws are of this kind, VacuousError. GradientError carries its own small case: Hypothesis shrinks nothing,
    and of a wrong gradient that says little, such as one number, others are drawn until one says more.
    """
    seen: Counter[str] = Counter()
    failures: list[GradientError] = []

    default = settings().max_examples  # of the loaded profile

    @settings(
        max_examples=max_examples or default,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.tuples(*strategies), st.integers(0, 2**32 - 1))
    def holds(drawn: tuple, seed: int) -> None:
        arguments = [x for part in drawn for x in (part if isinstance(part, tuple) else (part,))]
        try:
            try:
                report = check_grads(f, arguments, order=order, seed=seed, **options)
                seen["empty" if all(row.note for row in report.rows) else "checked"] += 1
            except VacuousError:
                check_grads(f, arguments, order=order, seed=seed, **{**options, "vacuous": True})
                seen["vacuous"] += 1
        except GradientError as error:
            failures.append(error)
            if not error.diagnosis.startswith(UNKNOWN) or len(failures) >= FAILURES:
                raise

    holds()
    if failures:
        raise failures[0]
    if not seen["checked"] and not options.get("vacuous"):
        raise VacuousError(
            f"{getattr(f, '__name__', f)}: none of {seen.total()} draws has a gradient that is not zero "
            f"({seen['empty']} were empty): draw larger shapes or other values"
        )
