"""How fast the models train and predict on this machine; `multigrain bench` prints it, and `benchmarks/` compares with others by the same parts."""
