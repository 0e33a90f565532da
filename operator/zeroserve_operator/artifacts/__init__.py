"""Plugins as OCI artefacts: references, registries, signatures, and pulling them in time."""
