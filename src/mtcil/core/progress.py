"""A progress bar on a terminal; elsewhere, as in the log of a cluster's job, lines now and then.

At most one line a minute, when a piece of the work ends.
"""

import sys
from typing import Any

from tqdm import tqdm

SECONDS = 60  # between lines where there is no terminal; work done sooner prints no line


def progress(*items: Any, **options: Any) -> "tqdm[Any]":
    """`tqdm` with its own arguments, on stderr."""
    if not sys.stderr.isatty():
        options |= {"delay": SECONDS, "mininterval": SECONDS, "miniters": 1, "file": _Lines()}
    return tqdm(*items, **options)


class _Lines:
    """stderr, where each state of the bar is a line of its own."""

    def write(self, text: str) -> None:
        if text := text.strip():
            print(text, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()
