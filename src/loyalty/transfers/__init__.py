"""Points that one member gives another: they keep the dates of the lots they come from."""
