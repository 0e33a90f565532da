"""`zeroserve plugin`: what an author of plugins does on their own machine."""
