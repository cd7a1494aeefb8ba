"""The pure cores: synchronous, the same code live, at resume and in replay.

No function here awaits, reads a clock, draws a random number or logs.
"""
