"""The library spells no options: a hint is data, and what both see is said in words that fit both."""

import ast
import re

OPTION = re.compile(r"(?<![\w(-])-(?:-[a-z][a-z-]+|v)\b")
WHOLE_COMMAND = re.compile(r"\b(?:trtexec|pip|dask|python) ")
"""Texts that are another program's command line name it first."""

THEIRS = ("graphkit/inspection/trtexec.py", "graphkit/fleet/cluster.py")
"""Files about other programs' options."""


SECOND = {"Either": 1, "Call": 2}
"""Part of a hint -> from which argument on the command line's spelling stands."""


def texts(tree):
    """Every string of a file that is no docstring and not the command line's half of a hint; f-strings as one text."""
    left_out = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for one in body if isinstance(body, list) else []:
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
                left_out.add(id(one.value))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SECOND:
            left_out.update(id(inner) for given in node.args[SECOND[node.func.id] :] for inner in ast.walk(given))
        if isinstance(node, ast.JoinedStr):
            left_out.update(id(part) for part in node.values)
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(p.value if isinstance(p, ast.Constant) else "..." for p in node.values)


def options(source):
    """Line and option of every text that spells one outside of a whole command line."""
    for line, text in texts(ast.parse(source)):
        for found in OPTION.finditer(text):
            if not WHOLE_COMMAND.search(text[: found.start()]):
                yield line, found.group()


def test_no_text_of_the_library_spells_an_option_of_the_command_line(root, tracked):
    found = [
        f"{path}:{line}: {option}"
        for path in tracked
        if path.parts[0] == "graphkit" and path.suffix == ".py" and str(path) not in THEIRS and "html" not in path.parts
        for line, option in options((root / path).read_text(encoding="utf-8"))
    ]
    assert found == []


def test_such_texts_are_found():
    assert list(options('f("give it with --as scales", f"{x} of --json")')) == [(1, "--as"), (1, "--json")]
    assert list(options('f("graphkit resize M OUT --as scales")')) == [(1, "--as")]
    assert list(options('"""The option --as."""\nf("pip install --upgrade onnx", Either("a", "-v"), "a--b")')) == []
