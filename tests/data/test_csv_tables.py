"""Tables as people save them: read as they mean, or refused with the line."""

from pathlib import Path

import pytest

from multigrain.data.readers.csv_tables import read_csv_table
from multigrain.errors import DataError

TABLE = "file,label\na.wav,1\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    (tmp_path / "a.csv").write_bytes((mark + TABLE.replace("a.wav", "é.wav")).encode(encoding))
    assert read_csv_table(tmp_path / "a.csv").rows == [(2, {"file": "é.wav", "label": "1"})]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_excels_word_on_what_divides_the_cells(tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "a.csv").write_bytes((f"sep={delimiter}\r\n" + TABLE.replace(",", delimiter)).encode())
    table = read_csv_table(tmp_path / "a.csv")
    assert (table.heading, table.rows) == (("file", "label"), [(3, {"file": "a.wav", "label": "1"})])


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,label,label\na.wav,1,2\n")
    with pytest.raises(DataError, match=r"a\.csv has 2 columns called 'label'"):
        read_csv_table(tmp_path / "a.csv")


def test_cells_beyond_the_heading_are_refused_and_empty_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,label,text\na.wav,1,well\nb.wav,2,good, really good\n")
    with pytest.raises(DataError, match=r"line 3: it has 4 cells, the heading 3; the first too many is 'really good'. A text with a comma"):
        read_csv_table(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("file,label\na.wav,1,,\nb.wav\n")
    assert [row for _, row in read_csv_table(tmp_path / "a.csv").rows] == [{"file": "a.wav", "label": "1"}, {"file": "b.wav"}]
