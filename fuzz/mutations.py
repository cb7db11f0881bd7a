"""Small damage to valid files: what a disk, a broken download or an attacker does to them."""

import random
from collections.abc import Sequence

EDGES = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff" * 8, b"-1", b"9" * 30)
MAX_TIMES = 4  # changes at once


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """`data` with one to four changes: bits, edge values, cuts, repeats, pieces of others."""
    for _ in range(rng.randint(1, MAX_TIMES)):
        data = rng.choice(CHANGES)(data or b"\x00", others, rng)
    return data


def _flip(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


def _edge(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An extreme number in place of whatever stood there."""
    place, value = rng.randrange(len(data)), rng.choice(EDGES)
    return data[:place] + value + data[place + len(value) :]


def _cut(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _leave_out(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    start, end = _piece(data, rng)
    return data[:start] + data[end:]


def _repeat(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    start, end = _piece(data, rng)
    return data[:end] + data[start:]


def _splice(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """The beginning of one file and the end of another."""
    other = rng.choice(others) or b"\x00"
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def _piece(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 4, 16, 512, 4096)))


CHANGES = (_flip, _edge, _cut, _leave_out, _repeat, _splice)
