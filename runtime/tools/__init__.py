"""Tools: what the model may call, and what happens when it does."""
