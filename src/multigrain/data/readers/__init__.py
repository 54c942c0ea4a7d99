"""One published file format per module, each giving utterances one by one."""

from multigrain.data.readers import arrays, csd, mag, misa, mmsa, mult, transcripts
from multigrain.data.readers.base import Place, Reader, ReadOptions, ReadResult

READERS: dict[str, Reader] = {module.READER.name: module.READER for module in (mult, mmsa, misa, mag, csd, arrays, transcripts)}

__all__ = ["READERS", "Place", "ReadOptions", "ReadResult", "Reader"]
