"""The proof: metrics, validate against a torch module or another model, bisect to the first value that diverges."""
