"""What comes from a file is printed such that no terminal obeys it, as text and as JSON."""

import json

import pytest

import graphkit as gk
from graphkit.report.printable import json_safe, printable

NASTY = [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
NASTY += [0x2028, 0x2029, 0xE0001, 0xE0041]


@pytest.mark.parametrize("code", NASTY, ids=hex)
def test_no_steering_character_is_left(code):
    text = f"a{chr(code)}b"
    assert printable(text, lines=False).isprintable()
    assert printable(text).replace("\n", "").replace("\t", "").isprintable()
    spelt = gk.to_json({text: [text]})
    assert json.loads(spelt) == {text: [text]}
    assert spelt.replace("\n", "").isprintable()


@pytest.mark.parametrize("text", ["plain", "Größe 大小 🙂", "x[0] = {'a': \"b\"}", "\\x1b stays"])
def test_other_text_is_left_alone(text):
    assert printable(text, lines=False) == text
    assert json_safe(text) == text


def test_what_is_escaped_is_visible():
    assert printable("\x1b]0;t\x07\u202e\x9b") == r"\x1b]0;t\x07\u202e\x9b"
    assert printable("one\ntwo\r") == "one\ntwo\\r"
