"""A model where it is used: on this package's modules, and as an ONNX file."""
