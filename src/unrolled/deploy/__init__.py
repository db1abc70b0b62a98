"""A model where it is used: on this package's modules, as an ONNX file, on a stream."""
