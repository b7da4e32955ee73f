"""Where jobs are kept: the port, SQLite, and the records in it."""
