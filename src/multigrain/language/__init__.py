"""Language models that read transcripts: which one, its word-pieces, its network. `transformers` is imported when one is used."""
