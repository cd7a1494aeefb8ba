"""Child processes: started by one thread, read without blocking, ended with all they started."""
