"""The job store: its port, its implementation on SQLite, and the records in it."""
