"""Which packages share a layer: planners and layer plans."""
