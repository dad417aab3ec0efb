"""What a model is compared with, another model or a torch module, behind one protocol."""
