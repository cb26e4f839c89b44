"""A coverage-guided fuzzer of the table reader; CONTRIBUTING says how to run it, pytest does not collect it.

What must hold of any bytes is `held` of test_fuzz_tables.
"""

import os
import random
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["minichin.fit"]):
    from tests.test_fuzz_tables import WORDS, held

SEEDS = (
    "params,tokens,loss\n1e5,1e6,3.5\n2e5,1e6,3.25\n",
    '# note\nN;params;tokens;val_loss;status\n"a";1;2;3;finished\n"b";1;2;;diverged\n',
    "spec_hash\tparams\ttokens\tloss\tflops\nx\t1\t2\t3\t\n\ny\t1\t2\t3\t\t\n",
)


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Change the text as the library would, or put a word of a table somewhere, or double a line."""
    rng = random.Random(seed)
    if rng.random() < 0.4:
        return bytes(atheris.Mutate(data, most))
    at, word = rng.randint(0, len(data)), rng.choice(WORDS).encode()
    if rng.random() < 0.3:
        at, word = len(data), b"\n" + rng.choice(data.split(b"\n"))
    return (data[:at] + word + data[at + rng.choice([0, len(word)]) :])[:most]


if __name__ == "__main__":
    corpus = Path(tempfile.mkdtemp())
    for i, text in enumerate(SEEDS):
        (corpus / str(i)).write_text(text)
    atheris.Setup([*sys.argv, os.fspath(corpus)], held, custom_mutator=mutate)
    atheris.Fuzz()
