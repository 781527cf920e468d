"""Small runs of every model, as options: a few seconds each with the readable references."""

WORDS = "we hold these truths to be self evident , that all are created equal .".split()
SMALL = "--batch-size 4 --warmup 2 --decay-steps 8 --eval-every 3 --lr 0.02".split()
HIDDEN = ["--width", 6, "--hidden", 6]
TAGGING = [*HIDDEN, "--shape-width", 2, "--min-count", 1]
MODELS = {  # options, the data, a command for the trained model
    "gpt": (["--layers", 1, "--heads", 2, "--width", 8, "--block-size", 8], "text", "generate"),
    "language-model": (["--hidden", 6, "--bptt", 5, "--min-count", 1, "--layers", 2], "text", "generate"),
    "classifier": ([*HIDDEN, "--cell", "lstm", "--min-count", 1], "labelled", "predict"),
    "tagger": (TAGGING, "columns", "predict"),
    "window-classifier": (TAGGING, "columns", "predict"),
    "window-scorer": (TAGGING, "columns", None),
    "name-generator": ([*HIDDEN, "--min-count", 1], "names", "generate"),
}
