"""precision: float16 and int8."""
