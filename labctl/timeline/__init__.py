"""The timeline of a drill's phase: what its steps wait for, and who plays them."""
