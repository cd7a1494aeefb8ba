"""The event log: LMDB on a local disk, and its in-memory twin. Nothing above knows which."""
