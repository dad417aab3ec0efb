"""The laws of operations: how the model after a step is bound to the model before it, and whether both then agree."""
