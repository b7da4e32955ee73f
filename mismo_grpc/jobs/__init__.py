"""Jobs, runs and events: the values, their repository, and their store."""
