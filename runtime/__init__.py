"""The world: the log, model clients, tools, sandbox, configuration, and the engine."""
