"""Text: corpora, vocabularies, labels and batches.  Plain arrays and tuples; nothing here knows tensors or models."""

from tinygrad_nlp.text.batching import WindowSampler, consecutive_windows
from tinygrad_nlp.text.conll import TaggedSentence, read_conll
from tinygrad_nlp.text.corpus import DEFAULT_CORPUS, load_text, names_text
from tinygrad_nlp.text.labelled import LabelledTexts, read_categories, read_labelled
from tinygrad_nlp.text.measures import Scores, accuracy, entity_scores, perplexity
from tinygrad_nlp.text.one_hot import one_hot
from tinygrad_nlp.text.parts import random_parts, split_tokens
from tinygrad_nlp.text.registry import CORPORA, Corpus, fetch
from tinygrad_nlp.text.sequences import BucketSampler, contiguous_batches, padded
from tinygrad_nlp.text.shapes import SHAPES, word_shape
from tinygrad_nlp.text.tags import Span, bio_tags, spans, to_bio
from tinygrad_nlp.text.tokenizer import CharTokenizer, WordTokenizer
from tinygrad_nlp.text.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary, split_words

__all__ = [
    "BOS",
    "CORPORA",
    "DEFAULT_CORPUS",
    "EOS",
    "PAD",
    "SHAPES",
    "SPECIALS",
    "UNK",
    "BucketSampler",
    "CharTokenizer",
    "Corpus",
    "LabelledTexts",
    "Scores",
    "Span",
    "TaggedSentence",
    "Vocabulary",
    "WindowSampler",
    "WordTokenizer",
    "accuracy",
    "bio_tags",
    "consecutive_windows",
    "contiguous_batches",
    "entity_scores",
    "fetch",
    "load_text",
    "names_text",
    "one_hot",
    "padded",
    "perplexity",
    "random_parts",
    "read_categories",
    "read_conll",
    "read_labelled",
    "spans",
    "split_tokens",
    "split_words",
    "to_bio",
    "word_shape",
]
