"""Scripts that one build after the other runs, each in a new process; they import nothing of this folder."""
