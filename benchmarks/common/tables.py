"""Tables in Markdown, and the machine of a result in words."""

from typing import Any


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def where(result: dict[str, Any]) -> str:
    """The machine and commit of a result."""
    return f"{result['processor']}, {result['cores']} cores, {result['device']}, commit {result['commit']}"
