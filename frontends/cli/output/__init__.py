"""How the command line prints: text, JSON, verdicts and differences."""
