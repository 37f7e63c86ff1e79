"""Metal sources of public packages: what is fetched, and how each project's host compiles it."""
