"""One module a stage of a job."""
