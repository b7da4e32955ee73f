"""The stages of jobs, one module for each."""
