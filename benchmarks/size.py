"""The size of a benchmark: full, or with `--tiny` so small that it only shows that it runs."""

import sys
from typing import TypeVar

T = TypeVar("T")
TINY = "--tiny" in sys.argv


def sized(full: T, tiny: T) -> T:
    """What to use at the size that was asked for."""
    return tiny if TINY else full


def arguments() -> list[str]:
    """The command line without `--tiny`."""
    return [given for given in sys.argv[1:] if given != "--tiny"]
