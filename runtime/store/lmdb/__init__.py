"""The durable event log: LMDB writes, and readers check each page and number that they take."""
