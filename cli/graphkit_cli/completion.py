"""Completion where click's is not enough: fish shows descriptions whole, commas and all."""

from __future__ import annotations

from collections.abc import Mapping

from click.shell_completion import CompletionItem, FishComplete, add_completion_class


def complete_in_fish(said: Mapping[str, str]) -> None:
    """Register what fish asks: command -> what is said of it; click shortens that to 45 characters, and fish cuts at a comma."""

    class Fish(FishComplete):
        source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')

        def format_completion(self, item: CompletionItem[str]) -> str:
            if item.help and item.value in said:
                return f"{item.type},{item.value}\t{said[item.value]}"
            return super().format_completion(item)

    add_completion_class(Fish)
