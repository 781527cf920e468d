"""Without Numba, or with one that refuses to be imported, the references do everything, and one warning says so."""

import subprocess
import sys
import textwrap


def test_the_references_run_and_one_warning_says_so():
    script = """
        import sys, warnings
        sys.modules["numba"] = None  # what an import of a package that is not there finds
        import numpy as np
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import tinygrad_nlp as tn
            from tinygrad_nlp.models.gpt import GPT, GPTConfig
            model = GPT(GPTConfig(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=8))
            tokens = np.arange(4)[None]
            model.loss(tokens, tokens).backward()
            assert model.wte.weight.grad is not None
            assert tn.backends("softmax") == ("cuda", "reference")  # whose kernels CuPy or g++ compiles
        assert [str(w.message) for w in caught if "Numba" in str(w.message)] == [
            "the CPU kernels need Numba, and it cannot be imported (import of numba halted; None in sys.modules): "
            "the slower references run instead"
        ], [str(w.message) for w in caught]
        try:
            with tn.use_backend("cpu"):
                tn.softmax(np.ones(3))
        except tn.BackendError as error:
            print(error)
        from tinygrad_nlp.cli import main
        assert main(["doctor"]) == 0
        assert main(["warmup"]) == 2
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "backend 'cpu' is forced, which it does not have" in done.stdout
    assert "without it the slower references run" in done.stdout
    assert done.stderr.startswith("tinygrad-nlp: the kernels need Numba, and it cannot be imported")
