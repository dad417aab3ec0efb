"""Fixtures for pytest. In ``conftest.py``: ``pytest_plugins = ["graphkit.testing.fixtures"]``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphkit.recipe.recipe import Recipe
from graphkit.surgery.split import Split
from graphkit.torch_export.export import export


@pytest.fixture
def export_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Export a torch module into the test's folder: ``export_onnx(module, args, **options)`` gives the file's path."""
    numbers = itertools.count()

    def exported(module: Any, args: Any, **options: Any) -> Path:
        path = tmp_path / f"exported{next(numbers)}.onnx"
        export(module, args, path, **options)
        return path

    return exported


@pytest.fixture
def apply_recipe(tmp_path: Path) -> Callable[..., Path]:
    """Apply a recipe and save what it makes: ``apply_recipe(recipe, model, **variables)`` gives the path."""
    numbers = itertools.count()

    def applied(recipe: str | Path | Recipe, model: Any, **variables: Any) -> Path:
        read = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
        made = read.apply(model, **variables)
        path = tmp_path / f"applied{next(numbers)}{'' if isinstance(made, Split) else '.onnx'}"
        made.save(path)
        return path

    return applied
