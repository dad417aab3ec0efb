"""The fixtures of graphkit for this suite: ``export_onnx`` and ``apply_recipe``."""

import sys
from pathlib import Path

pytest_plugins = ["graphkit.testing.fixtures"]

sys.path.insert(0, str(Path(__file__).parent.parent))
