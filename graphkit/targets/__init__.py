"""What other runtimes than ONNX Runtime accept, as rule files, and the commands that build for them."""
