"""Magics, the display of results and errors, progress, completion."""
