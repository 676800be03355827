"""Tables in Markdown, and the machine of a result in words."""

from typing import Any


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def describe_where(result: dict[str, Any]) -> str:
    """Return the machine and the commit of a result in words."""
    return f"{result['processor']}, {result['cores']} cores, {result['device']}, commit {result['commit']}"
