"""Bytes that look like what images hold, the same on every machine.

The measured compression must be that of real layers, so there are two kinds: bytes that no codec shrinks (what is
compressed already: jars, wheels, pictures), and a mixture of text and machine code in which `gzip -6` finds about what
it finds in a real `/usr` (a third remains; see `tests.py`).
"""

import random
from functools import lru_cache

MIB = 1024 * 1024
# A slice of the corpus is much wider than deflate's window of 32 KiB, so that repeated slices are no repetition to it.
SLICE = 256 * 1024
CORPUS = 12 * MIB


def noise(seed: int, size: int) -> bytes:
    """Bytes that cannot be compressed."""
    return random.Random(f"noise {seed}").randbytes(size)


def long_noise(seed: int, size: int):
    """Noise of any size in pieces of 1 MiB: a block of 32 MiB, again and again, with a number before each piece. No codec
    with a window of less than that finds the repetition."""
    block = noise(seed, 32 * MIB)
    for number in range(0, size, MIB):
        start = number % len(block)
        piece = number.to_bytes(8, "big") + block[start + 8 : start + MIB]
        yield piece[: size - number]


def _words(generator: random.Random, count: int) -> list:
    """Words in the shape of identifiers and of prose."""
    letters = "etaoinshrdlcumwfgypbvkjxqz_ETAS0123"
    weights = [1 / (rank + 2) for rank in range(len(letters))]
    words = []
    for _ in range(count):
        length = 2 + int(generator.expovariate(0.22))
        words.append("".join(generator.choices(letters, weights, k=min(length, 24))).encode())
    return words


def _text(generator: random.Random, size: int) -> bytes:
    """Prose and source code: words and set phrases, the frequent ones very frequent."""
    words = _words(generator, 9000)
    ranks = [1 / (rank + 3) for rank in range(len(words))]
    joints = [b" ", b" ", b" ", b"\n", b", ", b".", b"(", b") ", b" = ", b"\n    ", b'"', b"/"]
    phrases = [
        b"".join(word + generator.choice(joints) for word in generator.choices(words, ranks, k=4 + index % 16))
        for index in range(4000)
    ]
    frequencies = [1 / (rank + 25) for rank in range(len(phrases))]
    out, length = [], 0
    while length < size:
        pieces = generator.choices(phrases, frequencies, k=2000)
        singles = generator.choices(words, ranks, k=2000)
        for piece, single in zip(pieces, singles):
            out += (piece, single, b" ")
            length += len(piece) + len(single) + 1
    return b"".join(out)[:size]


def _code(generator: random.Random, size: int) -> bytes:
    """Machine code: frequent instructions, with operands that are seldom the same."""
    instructions = [generator.randbytes(1 + index % 5) for index in range(700)]
    frequencies = [1 / (rank + 6) for rank in range(len(instructions))]
    operands = [generator.randbytes(1 + index % 3) for index in range(500)]
    near = [1 / (rank + 4) for rank in range(len(operands))]

    def lines(count: int) -> bytes:
        heads = generator.choices(instructions, frequencies, k=count)
        tails = generator.choices(operands, near, k=count)
        return b"".join(part for pair in zip(heads, tails) for part in (*pair, b"\0\0"))

    # Compilers write the same sequences again and again: prologues, calls, error paths.
    sequences = [lines(3 + index % 9) for index in range(2500)]
    often = [1 / (rank + 25) for rank in range(len(sequences))]
    out, length = [], 0
    while length < size:
        for sequence in generator.choices(sequences, often, k=2000):
            single = lines(1)
            out += (sequence, single)
            length += len(sequence) + len(single)
    return b"".join(out)[:size]


@lru_cache(maxsize=1)
def corpus() -> bytes:
    """What `mixture` is cut from: text and machine code by turns."""
    generator = random.Random("corpus")
    text, code = _text(generator, CORPUS * 5 // 8), _code(generator, CORPUS * 3 // 8)
    turns, out, at = (5 * SLICE, 3 * SLICE), [], [0, 0]
    while at[0] < len(text):
        for which, kind in enumerate((text, code)):
            out.append(kind[at[which] : at[which] + turns[which]])
            at[which] += turns[which]
    return b"".join(out)


def mixture(seed: int, size: int) -> bytes:
    """Bytes that compress as the files of an image do."""
    generator, source = random.Random(f"mixture {seed}"), corpus()
    out = []
    for _ in range(-(-size // SLICE)):
        start = generator.randrange(len(source) - SLICE)
        out.append(source[start : start + SLICE])
    return b"".join(out)[:size]
