"""Commands say what they do and are the library's functions: same name, same options, same defaults."""

import importlib
import inspect

import click
import pytest

import graphkit as gk
from graphkit_cli.main import COMMANDS, cli
