"""Coverage-guided fuzzing of the reader of answers, started by hand.

    python -m pip install atheris        # once; it has wheels for Linux on x86-64, and is no dependency of the project
    python tests/security/fuzz_answer.py -max_total_time=300

Further arguments are libFuzzer's; a folder as the last one keeps what was found interesting, for the next run to begin with.
A finding ends the run with a traceback and leaves its input in a file crash-…, which is tried again by

    python tests/security/fuzz_answer.py crash-…

The same checks run by chance in every test run: test_answers_by_chance.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

try:
    import atheris
except ImportError:
    sys.exit("atheris is missing: python -m pip install atheris (Linux on x86-64)")

with atheris.instrument_imports(include=["aegis_stream.sender.answer", "aegis_stream.sender.lenient"]):
    from security.reading import FRAGMENTS, check

NEXT_ANSWER, NEXT_PIECE, LONG = 0xFF, 0xFE, 0xFD


def run_one(data: bytes) -> None:
    """Make answers of the fuzzer's bytes, and read them one after the other."""
    check(answers_of(data))


def answers_of(data: bytes) -> list[list[bytes]]:
    """Turn each byte into a fragment, a cut, the end of an answer, many bytes, or itself.

    The parser is C, whose branches the fuzzer does not see: without fragments it would never get past a status line.
    """
    answers = [[b""]]
    for byte in data:
        if byte == NEXT_ANSWER:
            answers.append([b""])
        elif byte == NEXT_PIECE:
            answers[-1].append(b"")
        elif byte == LONG:
            answers[-1][-1] += b"x" * 20_000
        else:
            answers[-1][-1] += FRAGMENTS[byte] if byte < len(FRAGMENTS) else bytes([byte])
    return answers


if __name__ == "__main__":
    atheris.Setup(sys.argv, run_one)
    atheris.Fuzz()
