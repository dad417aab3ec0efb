"""What users' own test suites import: assertions about models. ``graphkit.testing.fixtures`` holds pytest's fixtures.

::

    import graphkit as gk


    def test_the_patched_model_computes_the_same():
        gk.testing.assert_same("patched.onnx", "released.onnx")
"""

from graphkit.testing.assertions import assert_proved, assert_same, assert_valid

__all__ = ["assert_proved", "assert_same", "assert_valid"]
