"""Tasks that carry out what decisions ask of the world. Each closes its effect once."""
