"""Builds our OCI images without a container engine and without a base image.

What comes in: Debian packages (only unpacked), wheels from a hashed requirements file, our own sources, the
engine's binary. What goes out: OCI archives that containerd, Docker, podman and skopeo read. Callers: `make
images` and the e2e fixtures. Rule: equal input gives equal bytes; no time, owner, host name or order of a
folder goes into an archive.
"""
