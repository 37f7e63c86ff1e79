"""One module per project; each has a `PROJECT`."""
