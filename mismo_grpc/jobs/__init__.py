"""What a job, a run and an event are, and where they are kept."""
