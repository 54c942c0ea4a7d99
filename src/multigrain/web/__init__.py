"""The page and the JSON API: videos and texts are uploaded, analysed by worker processes, and kept until they are deleted."""
