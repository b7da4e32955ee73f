"""What a job is, its store, its event log, its life from submit to expiry."""
