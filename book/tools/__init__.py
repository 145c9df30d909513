"""Command-line tools that build and test the book; each can be run by hand."""
