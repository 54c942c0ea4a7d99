"""A whole Transformer layer compiled for the processor at hand; see `layer.native_layer` and docs/decisions/native-layer.md."""
