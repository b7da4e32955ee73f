"""HTTP for older clients: the same jobs as over gRPC, in the formats that those clients know."""
