"""The node side: snapshot resources in, verified native programs published to the engine out."""
