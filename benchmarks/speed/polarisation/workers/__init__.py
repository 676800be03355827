"""Files that `serve.py` runs, each in a Python of its own; they import nothing from each other."""
