"""Makes the benchmarks' parts importable, as `python benchmarks/training_step.py` does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
