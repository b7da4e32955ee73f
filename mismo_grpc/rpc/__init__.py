"""gRPC skin: protobuf in and out, errors as rich statuses; the logic is in jobs/."""
