"""The stores of the event log, a folder for each. `contract` and `waiting` are what all share."""
