"""probe: at which input shapes a model runs, and what to change where it does not."""
