"""The event log in memory: the same contract, for tests, simulation and sessions not to be kept."""
