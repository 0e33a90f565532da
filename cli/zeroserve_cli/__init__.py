"""The command line: composes the IR, the operator and the data plane into the `zeroserve` command."""
