"""Container images you can see, from a notebook."""
