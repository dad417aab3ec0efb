"""ONNX Runtime: providers that really loaded, sessions, feeds. Nothing else imports onnxruntime."""
