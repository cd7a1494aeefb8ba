"""What a turn starts with: instructions, permissions, AGENTS.md, environment, input and limits."""
