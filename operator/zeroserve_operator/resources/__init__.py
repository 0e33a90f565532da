"""Kubernetes objects as frozen views, parsed once.

In: raw objects as the API server or a manifest has them. Out: views that hold only the fields that are read.
A malformed field becomes a diagnostic ZS0301 at that field, never an exception; what is sound stays.
"""
