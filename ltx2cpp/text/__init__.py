"""Prompts as token ids: tokenizers read from files."""
