"""What happens to a job: admission, queue, runner, and the service that the front ends call."""
