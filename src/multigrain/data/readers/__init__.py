"""One published file format per module, each giving utterances one by one."""

from multigrain.data.readers import arrays, csd, mag, misa, mmsa, mult
from multigrain.data.readers.base import Place, Reader, ReadOptions, ReadResult

READERS: dict[str, Reader] = {reader.name: reader for reader in (mult.READER, mmsa.READER, misa.READER, mag.READER, csd.READER, arrays.READER)}

__all__ = ["READERS", "Place", "ReadOptions", "ReadResult", "Reader"]
