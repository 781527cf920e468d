"""`tinygrad-nlp data`: which corpora there are, and getting them."""

from __future__ import annotations

import sys
import textwrap

from nlp_kernels.errors import UserError

from tinygrad_nlp.command_line import Parser, me, one_of
from tinygrad_nlp.text.registry import CORPORA, MIRROR, PLAIN, data_cache, fetch, find, mirror_folder, whereabouts

HELP = """usage: {me} data list
       {me} data fetch NAME …

list   the corpora, their size, licence, and which are here
fetch  get some, or all of them with --all; each file is checked against its SHA-256

A corpus of plain text is trained on by its name: {me} train gpt --data gutenberg.  The others are for the readers in
tinygrad_nlp.text.  Files are looked for in the folder that {mirror} names, then in {cache},
and else downloaded to the latter; TINYGRAD_NLP_CACHE names another place for it."""


def main(argv: list[str]) -> int:
    """`data list` or `data fetch NAME …`; returns the exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP.format(me=me(), mirror=MIRROR, cache=data_cache()))
        return 0 if argv else 2
    return {"list": _list, "fetch": _fetch}[one_of(argv[0], ("list", "fetch"), "data command")](argv[1:])


def _list(argv: list[str]) -> int:
    Parser(prog=f"{me()} data list", description="The corpora that can be had by name.").parse(argv)
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "what", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("licence")
    table.add_column("here", no_wrap=True)
    for corpus in CORPORA.values():
        row = corpus.name, corpus.what, megabytes(corpus.size), corpus.licence, whereabouts(corpus) or "no"
        table.add_row(*row)
    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(table)
    plain = ", ".join(corpus.name for corpus in CORPORA.values() if corpus.format == PLAIN)
    console.print(f"\nplain texts, for `train … --data NAME`: {plain}", soft_wrap=True)
    console.print(f"folder: {mirror_folder() or 'none'} ({MIRROR})\ncache: {data_cache()}", soft_wrap=True)
    return 0


def _fetch(argv: list[str]) -> int:
    everything = megabytes(sum(corpus.size for corpus in CORPORA.values()))
    parser = Parser(
        prog=f"{me()} data fetch",
        usage=f"{me()} data fetch NAME … | --all",
        description="Get corpora, or check those that are here: every file against its SHA-256.",
        epilog=textwrap.fill(f"names: {', '.join(CORPORA)}", 80, break_on_hyphens=False),
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="a corpus of `data list`")
    parser.add_argument("--all", action="store_true", help=f"every corpus, {everything}")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    arguments = parser.parse(argv)
    if bool(arguments.names) == arguments.all:
        raise UserError(f"data fetch: name the corpora to get, or give --all; `{me()} data list` shows them")
    for corpus in list(CORPORA.values()) if arguments.all else [find(name) for name in dict.fromkeys(arguments.names)]:
        paths = fetch(corpus.name, quiet=arguments.quiet)
        if not arguments.quiet:
            print(
                f"{corpus.name}: {len(paths)} files in {paths[0].parent}"
                if len(paths) > 1
                else f"{corpus.name}: {paths[0]}"
            )
    return 0


def megabytes(size: int) -> str:
    """Bytes as kB or MB, decimal."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
