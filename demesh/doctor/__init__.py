"""What `demesh doctor` looks at: each examination gives findings, and each finding that is not good names its remedy."""
