"""The parts of `benchmarks/training_step.py`, one concept a file."""
