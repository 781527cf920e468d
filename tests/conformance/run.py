"""Judge `tinygrad_nlp` by the array API standard's own conformance suite (https://github.com/data-apis/array-api-tests).

    git clone --recurse-submodules https://github.com/data-apis/array-api-tests ../array-api-tests
    uv run --with ndindex --with pytest-json-report python tests/conformance/run.py ../array-api-tests

Runs every test outside `skips.txt`, prints the totals, and writes them with all versions to `results.json`. The status
is 1 where a test fails, 2 where the suite cannot be run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
API_VERSION = "2024.12"
PACKAGES = ("tinygrad-nlp", "numpy", "hypothesis", "pytest")
# A library without complex dtypes leaves the suite at the maximum of an empty list.
COMPLEX = "for dt in complex_dtypes]", "for dt in complex_dtypes or real_float_dtypes]"


class Skip(NamedTuple):
    pattern: str
    reason: str

    def matches(self, test: str) -> bool:
        return re.fullmatch(".*".join(map(re.escape, self.pattern.split("*"))), test) is not None


def read_skips(path: Path = HERE / "skips.txt") -> list[Skip]:
    """The entries of the skip list, each with its reason."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [Skip(pattern, reason) for pattern, _, reason in (line.partition("  # ") for line in lines)]


def copied(suite: Path, folder: Path) -> Path:
    """The suite as it is, except that it bears a library without complex dtypes."""
    copy = folder / "array-api-tests"
    shutil.copytree(suite, copy, ignore=shutil.ignore_patterns(".git", "__pycache__", ".hypothesis"))
    helpers = copy / "array_api_tests" / "dtype_helpers.py"
    helpers.write_text(helpers.read_text().replace(*COMPLEX))
    return copy


def pytest(suite: Path, *options: str, quiet: bool = False) -> subprocess.CompletedProcess:
    environment = os.environ | {
        "ARRAY_API_TESTS_MODULE": "tinygrad_nlp",
        "ARRAY_API_TESTS_VERSION": API_VERSION,
        "ARRAY_API_TESTS_SKIP_DTYPES": "complex64,complex128",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=short",
        *options,
        "array_api_tests",
    ]
    return subprocess.run(command, cwd=suite, env=environment, text=True, stdout=subprocess.PIPE if quiet else None)


def tests_of(suite: Path) -> list[str]:
    """The ids of all tests of the suite."""
    found = pytest(suite, "--collect-only", quiet=True)
    if found.returncode:
        print(found.stdout)
        sys.exit(2)
    return [line for line in found.stdout.splitlines() if line.startswith("array_api_tests/")]


def skipped_ids(tests: list[str], skips: list[Skip]) -> dict[str, Skip]:
    """The tests of the skip list; every entry must match one."""
    stale = [skip.pattern for skip in skips if not any(map(skip.matches, tests))]
    if stale:
        sys.exit(f"skips.txt has entries that match no test: {', '.join(stale)}")
    return {test: skip for test in tests for skip in skips if skip.matches(test)}


def version_of(suite: Path) -> str:
    """The commit of the suite, where its folder tells."""
    found = subprocess.run(["git", "-C", suite, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suite", type=Path, help="the folder of array-api-tests")
    parser.add_argument("--max-examples", type=int, default=100, help="of Hypothesis for each test")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--suite-version", help="a commit, where the folder is no git checkout")
    options = parser.parse_args()
    if not (options.suite / "array-api" / "spec").is_dir():
        print(f"{options.suite} is no checkout of array-api-tests with its submodule array-api", file=sys.stderr)
        return 2
    skips = read_skips()
    with tempfile.TemporaryDirectory() as folder:
        suite, report = copied(options.suite, Path(folder)), Path(folder) / "report.json"
        skipped = skipped_ids(tests_of(suite), skips)
        listed = Path(folder) / "skips.txt"
        listed.write_text("".join(f"{test}\n" for test in skipped))
        pytest(
            suite,
            f"--max-examples={options.max_examples}",
            "--disable-deadline",
            f"--skips-file={listed}",
            f"--numprocesses={options.processes}",
            "--json-report",
            f"--json-report-file={report}",
        )
        if not report.exists():
            return 2
        tests = json.loads(report.read_text())["tests"]
    outcomes = Counter(t["outcome"] for t in tests if t["nodeid"] not in skipped)
    reasons = Counter(skip.reason for skip in skipped.values())
    results = {
        "api_version": API_VERSION,
        "suite": options.suite_version or version_of(options.suite),
        "max_examples": options.max_examples,
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in PACKAGES}},
        "passed": outcomes["passed"],
        "failed": sorted(t["nodeid"] for t in tests if t["outcome"] not in ("passed", "skipped")),
        "not_applicable": outcomes["skipped"],
        "skipped": len(skipped),
        "skipped_for": dict(sorted(reasons.items())),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    print(
        f"{results['passed']} passed, {len(results['failed'])} failed, {results['skipped']} in the skip list, "
        f"{results['not_applicable']} that the suite itself leaves out"
    )
    return 1 if results["failed"] or not results["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
