"""One random generator per purpose, so that changing one draw does not change another."""

import hashlib

import numpy as np


def seed_for(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose of one run, e.g. `seed_for(3, "class order")`.

    The same words give the same number on every machine.
    """
    text = "/".join(str(word) for word in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose of one run."""
    return np.random.default_rng(seed_for(seed, *purpose))
