"""Makes mismo_lite, the small embedded separation model: songs -> weights. Not needed to run a server."""
