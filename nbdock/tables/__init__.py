"""pandas tables of layers and packages."""
