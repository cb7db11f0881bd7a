"""Fuzz one target under atheris for a bounded time: python fuzz/run.py TARGET SECONDS.

Ends with exit code 0, and the number of executions, if nothing but our own errors came out. Else
libFuzzer prints the traceback and where it leaves the input: make a test of it in
tests/robustness/test_fuzz.py. Inputs that reach new code are kept in the environment's folder, for
the next time.
"""

import importlib
import random
import sys
from pathlib import Path

import atheris

INSTRUMENTED = ["mtcil", "tarfile", "zipfile", "soundfile"]  # guides the search by their branches
SECONDS_AN_INPUT = 10
MEGABYTES = 3000


def main(name: str, seconds: str) -> None:
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = importlib.import_module(name)

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.3:
            return atheris.Mutate(data, max_size)
        return target.damaged(data, rng)[:max_size]

    corpus = Path(sys.prefix, "fuzz", name)
    corpus.mkdir(parents=True, exist_ok=True)
    for k, seed in enumerate(target.seeds()):
        Path(corpus, f"seed{k:03d}").write_bytes(seed)
    options = {
        "max_total_time": seconds, "max_len": target.MAX_BYTES, "timeout": SECONDS_AN_INPUT,
        "rss_limit_mb": MEGABYTES, "print_final_stats": 1, "artifact_prefix": f"{corpus}.",
    }  # fmt: skip
    arguments = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], target.check, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
