"""From a video, a text or a stored utterance to sentiment with evidence: `analyze` makes an `Analysis`, which `write_page` shows."""
