"""What a user waits for before and after a change: an old build beside the working tree."""
