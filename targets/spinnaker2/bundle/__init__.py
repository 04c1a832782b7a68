"""Bundles: programs as folders for whoever has a board, and reports of runs there, read back."""
