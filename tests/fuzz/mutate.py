"""Valid inputs, made invalid: the changes that a fuzzer makes to a seed."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random

SIZES = [0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1]
SIZES += [2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
NUMBERS = [str(size).encode() for size in SIZES] + [
    *(b"-1", b"-9223372036854775809", b"0.5", b"-0", b"1e999", b"1e-999", b"nan", b"inf", b"null"),
    *(b"9" * 400, b"1" + b"0" * 5000, b"true", b'"1"', b"[]", b"{}"),
]
TOKENS = [b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xc0\x80", b"\r\n", b"\n", b"\t", b" ", b"'", b'"']
TOKENS += [b",", b";", b":", b"[", b"]", b"{", b"}", b"\\u0000", b"\\ud800", b"../", b"%s", b"NaN"]

Mutation = Callable[[bytes, Random, Sequence[bytes]], bytes]
"""A seed's bytes, where the chance comes from, and the tokens worth inserting."""


class Mutator:
    """Endless mutations of the seeds: the same for the same ``random``."""

    def __init__(self, seeds: Sequence[bytes], tokens: Sequence[bytes], random: Random) -> None:
        self._seeds = list(seeds)
        self._tokens = [*tokens, *TOKENS]
        self._random = random
        self._most = max(map(len, seeds), default=0) + 2**16

    def __call__(self) -> bytes:
        random = self._random
        data = random.choice(self._seeds)
        for _ in range(random.choice([1, 1, 1, 2, 2, 3, 5, 8])):
            if random.random() < 0.1:
                data = splice(data, random.choice(self._seeds), random)
            else:
                data = random.choice(MUTATIONS)(data, random, self._tokens)
        return data[: self._most]


def splice(data: bytes, other: bytes, random: Random) -> bytes:
    """The beginning of one seed and the end of another."""
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def place(data: bytes, random: Random, most: int) -> tuple[int, int]:
    """Where a piece of at most so many bytes begins and ends."""
    begin = random.randint(0, len(data))
    return begin, min(len(data), begin + random.randint(1, most))


def flip_bits(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    del tokens
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 4]) if data else 0):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def set_bytes(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    del tokens
    begin, end = place(data, random, 4)
    return data[:begin] + random.randbytes(end - begin) + data[end:]


def delete(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    del tokens
    begin, end = place(data, random, random.choice([1, 16, max(1, len(data) // 2)]))
    return data[:begin] + data[end:]


def cut_off(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    del tokens
    return data[: random.randint(0, len(data))]


def insert(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    """A token, or noise."""
    at = random.randint(0, len(data))
    noise = random.randbytes(random.randint(1, 16))
    return data[:at] + (random.choice(tokens) if random.random() < 0.8 else noise) + data[at:]


def repeat(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    """A piece or a token many times: nesting, long chains, long lines."""
    begin, end = place(data, random, random.choice([1, 4, 64, 1024]))
    piece = random.choice(tokens) if random.random() < 0.3 else data[begin:end]
    return data[:begin] + piece * random.choice([2, 3, 16, 300, 5000]) + data[end:]


def move(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    """A piece from one place to another."""
    del tokens
    begin, end = place(data, random, random.choice([4, 64, 1024]))
    rest = data[:begin] + data[end:]
    at = random.randint(0, len(rest))
    return rest[:at] + data[begin:end] + rest[at:]


def set_integer(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    """A binary integer, as lengths and offsets are: another one, or the same and a little."""
    letter = random.choice("BHIQ")
    width = struct.calcsize(letter)
    if len(data) < width:
        return insert(data, random, tokens)
    at = random.randint(0, len(data) - width)
    form = random.choice("<>") + letter
    (value,) = struct.unpack_from(form, data, at)
    nearby = value + random.choice([-16, -1, 1, 16])
    value = random.choice(SIZES) if random.random() < 0.5 else nearby
    return data[:at] + struct.pack(form, value % 256**width) + data[at + width :]


def set_number(data: bytes, random: Random, tokens: Sequence[bytes]) -> bytes:
    """A number in a text: a size, an index or a value that nobody expects there."""
    # From a random place on: a binary file of megabytes need not be looked through.
    start = random.randint(0, len(data))
    found = re.compile(rb"-?\d+(\.\d+)?").search(data, start) or re.search(rb"-?\d+", data[:4096])
    if found is None:
        return insert(data, random, tokens)
    return data[: found.start()] + random.choice(NUMBERS) + data[found.end() :]


MUTATIONS: Sequence[Mutation] = [
    flip_bits,
    flip_bits,
    set_bytes,
    delete,
    cut_off,
    insert,
    insert,
    repeat,
    move,
    set_integer,
    set_number,
    set_number,
]
