"""Transformer layers compiled for the processor at hand; see `layer.native_layers` and docs/decisions/native-layer.md."""
