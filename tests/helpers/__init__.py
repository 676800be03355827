"""What tests share: networks, crystals, files of other programs, and their damage."""
