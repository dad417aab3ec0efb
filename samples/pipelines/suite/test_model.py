"""A team's own tests of its model: what is deployed computes what was trained.

python -m pytest samples/pipelines/suite
"""

from collections.abc import Callable
from pathlib import Path

from network import exportable

import graphkit as gk

PATCH = Path(__file__).parent.parent / "patch.toml"


def test_what_is_deployed_computes_what_was_trained(
    export_onnx: Callable[..., Path], apply_recipe: Callable[..., Path]
) -> None:
    """The patched export against the module, for two batches."""
    exported = export_onnx(*exportable())
    patched = apply_recipe(PATCH, exported)
    gk.testing.assert_valid(patched)
    gk.testing.assert_proved(patched, exported)
    gk.testing.assert_same(patched, exportable(), bind={"N": [1, 3]}, map={"image": "input"})
