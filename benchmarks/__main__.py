"""All benchmarks, one after the other in processes of their own, then the tables and pictures of the READMEs.

python -m benchmarks                        on all cores and on one; about an hour on two quiet cores
python -m benchmarks --quick                tiny shapes, to see that all of it runs; nothing is saved
python -m benchmarks --device cuda          on an NVIDIA GPU; --help after it lists its options
"""

import argparse
import subprocess
import sys
import time
from importlib import import_module

from benchmarks.command import device_option
from benchmarks.hot_path import NAMES

MODELS = (*NAMES, "gpt", "language_model")
QUICK = [[name, "--quick"] for name in (*MODELS, "tape")]
ALL = [
    *([name, *threads] for name in MODELS for threads in ([], ["--threads", "1"])),
    *(
        [name]
        for name in (
            "tape",
            "bars",
            "gpt_profile",
            "attention_cost",
            "gradient_checkers",
            "tilings",
            "figures",
            "readme",
        )
    ),
]


def main(argv: list[str] | None = None) -> None:
    where = device_option()
    if where.parse_known_args(argv)[0].device == "cuda":
        return import_module("benchmarks.gpu.command").main(argv)
    form = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(description=__doc__, formatter_class=form, parents=[where])
    options.add_argument("--quick", action="store_true")
    start = time.perf_counter()
    for name, *arguments in QUICK if options.parse_args(argv).quick else ALL:
        print(f"{time.perf_counter() - start:5.0f} s: {' '.join([name, *arguments])}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=True)
    print(f"{time.perf_counter() - start:5.0f} s: done")


if __name__ == "__main__":
    main()
