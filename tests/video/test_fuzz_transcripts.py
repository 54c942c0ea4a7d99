"""A small share of benchmarks/fuzz_transcripts.py: random files of each format are read or refused with a sentence."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("hypothesis", reason="needs hypothesis")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.mark.parametrize("suffix", [".srt", ".vtt", ".ass", ".txt", ".json"])
def test_random_files_are_read_or_refused(suffix):
    from fuzz_transcripts import fuzz

    assert "inputs" in fuzz(suffix, inputs=200, limit_seconds=5.0)
