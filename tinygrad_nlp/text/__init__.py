"""Text: corpora, vocabularies and batches.  Plain arrays of token ids; nothing here knows tensors or models."""

from tinygrad_nlp.text.batching import WindowSampler, consecutive_windows, split_tokens
from tinygrad_nlp.text.corpus import DEFAULT_CORPUS, load_text, names_text
from tinygrad_nlp.text.registry import CORPORA, Corpus, fetch
from tinygrad_nlp.text.tokenizer import CharTokenizer

__all__ = [
    "CORPORA",
    "DEFAULT_CORPUS",
    "CharTokenizer",
    "Corpus",
    "WindowSampler",
    "consecutive_windows",
    "fetch",
    "load_text",
    "names_text",
    "split_tokens",
]
