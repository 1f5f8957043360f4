"""The fault matrix: every fault of the stack that can be produced here, and what a real daemon says of it."""
