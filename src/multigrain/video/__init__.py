"""Videos to utterances: decoding, transcript, word times, voice and face."""
