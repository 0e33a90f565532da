"""Annotations of ingress-nginx: what they mean for the routes of their Ingress.

In: an Ingress' annotations. Out: one `Policy`, with a diagnostic for each annotation that is not honoured.
Rule: an annotation that restricts access and cannot be honoured closes its routes, it never opens them.
"""
