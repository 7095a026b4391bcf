"""What `reconciler doctor` looks at, one file a surrounding."""
