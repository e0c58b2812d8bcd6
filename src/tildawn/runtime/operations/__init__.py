"""The operations of the core: input, output, and what is done, one noun a module."""
