"""Pages of the tutorials: scripts whose comments are the text."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tutorials"


def tutorial_pages() -> dict[str, str]:
    """Make a page of every script: its docstring, then text and code by turns.

    Lines that begin with `# ` at the left edge and stand in a block that begins with `# %%` are text.
    """
    return {f"tutorials/{path.stem}.md": tutorial_page(path) for path in sorted(FOLDER.glob("*.py"))}


def tutorial_page(path: Path) -> str:
    """Make the page of one script."""
    source = path.read_text()
    match = re.match(r'"""(.*?)"""\n', source, flags=re.DOTALL)
    assert match is not None, path
    title, _, said = match[1].strip().partition("\n")
    text = f"# {title.rstrip('.')}\n{said}\n\nThe script is `docs/tutorials/{path.name}`.\n"
    for block in re.split(r"^# %%\n", source[match.end() :], flags=re.MULTILINE):
        lines = block.strip("\n").splitlines()
        words = []
        while lines and lines[0].startswith("#"):
            words.append(lines.pop(0).removeprefix("#").strip())
        code = "\n".join(lines).strip("\n")
        text += "\n" + "\n".join(words) + "\n" + (f"\n```python\n{code}\n```\n" if code else "")
    picture = FOLDER.parent / "pictures" / f"{path.stem}.png"
    if picture.is_file():
        text += f"\n![{title}](../pictures/{picture.name})\n"
    return text
