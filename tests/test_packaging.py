"""The wheel, installed in a fresh environment, has everything and works from another folder."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PROGRAM = """
import numpy as np, pathlib, nlp_kernels, tinygrad_nlp as tn
from tinygrad_nlp.autograd.check import check_grads
assert "site-packages" in tn.__file__ and "site-packages" in nlp_kernels.__file__, tn.__file__
check_grads(lambda x: tn.softmax(tn.tanh(x)), [np.random.default_rng(0).normal(size=(3, 4))])
print("checked", tn.__version__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on the PATH")
    out = tmp_path_factory.mktemp("dist")
    built = subprocess.run([uv, "build", "-q", "--wheel", "--out-dir", out, ROOT], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_has_code_derivations_and_types(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tracked = subprocess.run(["git", "ls-files", "kernels", "tinygrad_nlp"], cwd=ROOT, capture_output=True, text=True)
    expected = [n.removeprefix("kernels/") for n in tracked.stdout.split() if n != "kernels/README.md"]
    assert expected
    assert not [n for n in expected if n not in names]
    assert not [n for n in names if n.startswith(("tests", "benchmarks"))]


def test_a_check_runs_from_the_installed_wheel(wheel, tmp_path):
    env = tmp_path / "env"
    uv = shutil.which("uv")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, env], check=True)
    python = env / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--python", python, wheel], check=True)
    run = subprocess.run([python, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("checked")
    script = subprocess.run([env / "bin" / "tinygrad-nlp", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert script.returncode == 0, script.stderr
