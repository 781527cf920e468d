"""All benchmarks, one after the other in processes of their own, then the tables of the READMEs.

python -m benchmarks                        about ten minutes on two quiet cores
"""

import subprocess
import sys
import time

from nlp_kernels.dispatch import HOT_PATHS


def main() -> None:
    start = time.perf_counter()
    for name in (*HOT_PATHS, "tape", "gpt", "attention_cost", "gradient_checkers", "readme"):
        print(f"{time.perf_counter() - start:5.0f} s: {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
    print(f"{time.perf_counter() - start:5.0f} s: done")


if __name__ == "__main__":
    main()
