"""Show how far a stage is; silent when nobody watches."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
Reporter = Callable[[str], None]


def reporter(board: Path | None, name: str) -> Reporter | None:
    """A function that writes one line of news for the person at the terminal, at most 4 a second.

    Args:
        board: folder of the lines of all runs; None where nobody watches.
        name: of the run.
    """
    if board is None:
        return None
    file, last = board / str(os.getpid()), [0.0]

    def report(text: str) -> None:
        now = time.monotonic()
        if now - last[0] > 0.25 and board.is_dir():
            last[0] = now
            with suppress(OSError):  # a full disk there must not end the run
                file.write_text(f"{name}: {text}", "utf-8")

    return report


def watched(results: Callable[[Path | None], Iterable[T]], n: int, title: str) -> Iterator[T]:
    """Yield the results under a progress bar that also shows the latest line of each run.

    Args:
        results: given the board that runs report to, starts them.
        n: how many results there will be.
        title: what is being run.
    """
    if not sys.stderr.isatty():
        yield from results(None)
        return
    # After Ctrl-C runs may still write there while it is removed.
    board = TemporaryDirectory(prefix="mtcil-", ignore_cleanup_errors=True)
    with board as folder, tqdm(total=n, desc=title) as bar:
        done = threading.Event()
        thread = threading.Thread(target=_refresh, args=(bar, Path(folder), done), daemon=True)
        thread.start()
        try:
            for result in results(Path(folder)):
                bar.update()
                yield result
        finally:
            done.set()
            thread.join()


def _refresh(bar: tqdm, board: Path, done: threading.Event) -> None:
    while not done.wait(0.5):
        lines = [file.read_text("utf-8") for file in sorted(board.iterdir())]
        bar.set_postfix_str(" | ".join(lines), refresh=True)
