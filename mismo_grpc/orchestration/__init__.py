"""Runs jobs: admission, queue, runner, and the service that the front ends call."""
