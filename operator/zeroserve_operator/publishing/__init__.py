"""Publishing snapshots to the nodes' agents: deltas, acknowledgements, the gRPC server and its TLS."""
