"""HTTP for older clients: the same jobs as over gRPC, in the shapes that those clients know."""
