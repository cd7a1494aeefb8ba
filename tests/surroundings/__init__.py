"""What a machine may take away from turnlog, and how the tests keep that away from themselves."""
