"""Configuration: TOML in, validated settings out, every problem named at once with its file and line."""
