"""The language of the cells: parse and evaluate. Knows nothing of images."""
