"""What the segments of a Caddyfile mean: from the surface tree to `zeroserve_ir.tree`.

`sites` reads whole files, `bodies` the text of a Kubernetes object; both use the directive tables of
`directives`, and `profiles` says who may write what.
"""
