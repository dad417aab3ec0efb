"""The face of the package, and the drawing of its errors."""

import importlib
import inspect
import pkgutil
import re
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import graphkit as gk
from graphkit import errors
from house.write_stub import schema, stub


def test_every_name_of_the_face_can_be_imported():
    assert len(gk.__all__) == len(set(gk.__all__))
    for name in gk.__all__:
        assert not isinstance(getattr(gk, name), ModuleType), name
    assert set(gk.__all__) <= set(dir(gk))


def test_no_module_replaces_a_public_function():
    for found in pkgutil.walk_packages(gk.__path__, "graphkit."):
        importlib.import_module(found.name)
    assert [name for name in gk.__all__ if isinstance(getattr(gk, name), ModuleType)] == []
    assert [name for name in gk.__all__ if name[0].islower() and not callable(getattr(gk, name))] == []


def test_the_stub_is_the_one_that_the_table_writes():
    assert (Path(gk.__file__).parent / "__init__.pyi").read_text() == stub()


def test_the_shipped_schema_of_recipes_is_the_one_that_the_operations_write():
    assert (Path(gk.__file__).parent / "recipe" / "recipe.schema.json").read_text() == schema()


def test_no_public_signature_names_an_alias_that_is_only_a_text():
    """A tool that reads signatures would look for its words in the module of the function, where they may be unknown."""
    for name in gk.__all__:
        function = inspect.unwrap(getattr(gk, name))
        for said in getattr(function, "__annotations__", {}).values() if inspect.isfunction(function) else ():
            words = re.findall(r"\w+", said) if isinstance(said, str) else []
            assert [word for word in words if isinstance(function.__globals__.get(word), str)] == [], name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'extrct'"):
        _ = gk.extrct


def test_the_version_is_the_distributions():
    assert gk.__version__ == version("onnx-graphkit")


def test_every_error_is_on_the_face():
    assert {n for n, v in vars(errors).items() if inspect.isclass(v) and issubclass(v, Warning | Exception)} <= set(
        gk.__all__
    )


def test_every_public_function_says_what_it_does():
    silent = [n for n in gk.__all__ if callable(getattr(gk, n)) and not (getattr(gk, n).__doc__ or "").strip()]
    assert silent == []


EDITS = [name for name in gk.__all__ if getattr(getattr(gk, name), "__module__", "") == f"graphkit.surgery.{name}"]


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_says_what_it_changes_where_and_at_what_cost(name):
    text = inspect.getdoc(getattr(gk, name))
    assert [fact for fact in ("Args:", "Raises:", "Changes:", "Scope:", "Cost:") if fact not in text] == []


def test_the_error_tree_is_the_one_that_is_drawn():
    assert drawn(errors.__doc__) == real()


def real():
    """Class -> parent of every exception that errors.py defines."""
    return {
        name: value.__mro__[1].__name__
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }


def drawn(text):
    """Class -> parent, read off the drawing."""
    parents = {}
    path = []
    for line in text.splitlines():
        match = re.match(r"    ((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)  ", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        path[depth:] = [match[2]]
        parents[match[2]] = path[depth - 1] if depth else None
    return {
        name: parent or ("UserWarning" if name.endswith("Warning") else "Exception") for name, parent in parents.items()
    }


def test_the_drawing_says_which_errors_are_pythons_too():
    for line in errors.__doc__.splitlines():
        match = re.search(r"([A-Z]\w+)  .*\(also an? (\w+)\)", line)
        if match:
            assert match[2] in {c.__name__ for c in getattr(errors, match[1]).__mro__}, line
    also = {
        c.__name__
        for c in vars(errors).values()
        if inspect.isclass(c)
        and issubclass(c, gk.GraphkitError)
        and issubclass(c, ValueError | KeyError | ImportError | AssertionError)
    }
    assert {m[1] for m in re.finditer(r"([A-Z]\w+)  .*\(also an? ", errors.__doc__)} == also
