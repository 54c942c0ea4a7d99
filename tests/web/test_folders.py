"""A server touches what it made and nothing else, whatever folder and database it is started with; and what it keeps is its owner's alone."""

import logging
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from web_server import Client, in_process

from multigrain.errors import ServerError
from multigrain.web.folders import DataFolder
from multigrain.web.services import Services
from multigrain.web.settings import Settings

NAMES = ("incoming/holiday/a.mp4", "jobs/notes/b.txt", f"jobs/{'f' * 32}/c.mp4", f"incoming/{'0' * 32}/d.mp4", f"removing/{'1' * 32}/e.mp4", "f.mp4")


def finished(client: Client, text: str = "write well") -> str:
    id = client.submit(text)
    assert client.wait(id)["state"] == "done"
    return id


@pytest.fixture
def first(settings: Settings) -> str:
    """An analysis in the data folder, from a server that has ended."""
    with in_process(settings) as client:
        id = finished(client)
    return id


def test_a_folder_of_the_users_own_files_keeps_them(settings: Settings, caplog: pytest.LogCaptureFixture):
    for name in NAMES:
        (settings.data / name).parent.mkdir(parents=True, exist_ok=True)
        (settings.data / name).write_text("mine")
    with in_process(settings) as client:
        finished(client)
    assert {name: (settings.data / name).read_text() for name in NAMES} == dict.fromkeys(NAMES, "mine")
    assert "4 entries are not made by this server and left alone in" in caplog.text


def test_another_database_sets_what_it_does_not_know_aside_and_its_own_brings_it_back(
    settings: Settings, first: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with in_process(replace(settings, database=f"sqlite:///{tmp_path / 'other.sqlite'}")) as client:
        assert client.http.get(f"/api/analyses/{first}").status_code == 404
        assert (settings.data / "set-aside" / first / "result.json").is_file()
        other = finished(client)
    assert "1 analysis is not in the opened database and set aside" in caplog.text
    with in_process(settings) as client:
        assert client.http.get(f"/api/analyses/{first}/result").status_code == 200
        assert (settings.data / "set-aside" / other / "result.json").is_file()


def test_a_database_of_another_folder_is_refused_before_its_jobs_fail(settings: Settings, first: str, tmp_path: Path):
    moved = replace(settings, data=tmp_path / "elsewhere", database=f"sqlite:///{settings.data / 'jobs.sqlite'}")
    with pytest.raises(ServerError, match="belongs to another data folder"):
        Services(moved)
    with in_process(settings) as client:
        assert client.http.get(f"/api/analyses/{first}/result").status_code == 200


def test_an_upload_that_was_cut_off_is_removed(settings: Settings, first: str):
    folder = DataFolder(settings.data)
    upload = folder.open_upload(folder.new_id())
    (upload / "video.part").write_bytes(b"half")
    folder.close()
    with in_process(settings):
        assert not upload.exists()


def test_a_deletion_that_was_cut_off_is_finished(settings: Settings, first: str):
    folder = DataFolder(settings.data)
    folder.withdraw(first)
    folder.close()
    with in_process(settings) as client:
        assert client.http.get(f"/api/analyses/{first}").status_code == 404
    assert not list((settings.data / "removing").iterdir())


def test_a_deletion_that_the_database_does_not_take_has_not_happened(client: Client, monkeypatch: pytest.MonkeyPatch):
    id = finished(client)

    def broken(_: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(client.services.store, "delete", broken)
        assert client.http.delete(f"/api/analyses/{id}").status_code == 507
    assert client.http.get(f"/api/analyses/{id}/result").status_code == 200


def test_a_database_of_an_older_version_is_taken_on_with_its_jobs(settings: Settings, first: str):
    with sqlite3.connect(settings.data / "jobs.sqlite") as connection:
        connection.execute("DROP TABLE multigrain_folder")
    connection.close()
    (settings.data / "folder.json").unlink()
    with in_process(settings) as client:
        assert client.http.get(f"/api/analyses/{first}/result").status_code == 200


@pytest.mark.parametrize("content", ["", "{}", '{"id": "x"}', '{"id": 3}', "[]"])
def test_an_identity_that_was_changed_is_refused(settings: Settings, first: str, content: str):
    (settings.data / "folder.json").write_text(content)
    with pytest.raises(ServerError, match="is not as multigrain serve wrote it"):
        DataFolder(settings.data)


# The owner's alone --------------------------------------------------------------------------------------------------


def test_a_folder_that_was_open_is_closed(settings: Settings, caplog: pytest.LogCaptureFixture):
    for folder in (settings.data, settings.data / "jobs", settings.data / "incoming"):
        folder.mkdir()
        folder.chmod(0o755)
    (settings.data / "jobs.sqlite").touch(mode=0o644)
    with in_process(settings) as client:
        finished(client)
        open_ones = [path for path in (settings.data, *settings.data.rglob("*")) if path.is_dir() and path.stat().st_mode & 0o077]
        assert open_ones == []
        assert [path for path in settings.data.glob("*.sqlite*") if path.stat().st_mode & 0o077] == []
    assert "could be read by other users of this machine (mode 755)" in caplog.text


def test_a_database_elsewhere_is_its_owners_too(settings: Settings, tmp_path: Path):
    with in_process(replace(settings, database=f"sqlite:///{tmp_path / 'other.sqlite'}")) as client:
        finished(client)
        assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("other.sqlite*")} == {0}


def test_a_folder_that_others_need_is_not_closed_but_refused(tmp_path: Path):
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(ServerError, match="is for more than a server's data"):
        DataFolder(shared)
    assert shared.stat().st_mode & 0o7777 == 0o1777


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setattr("multigrain.web.private.os.geteuid", lambda: 12345)
    with pytest.raises(ServerError, match="belongs to another user"):
        DataFolder(tmp_path / "data")


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%20b", "a b", "ä&mode=ro"])
def test_the_database_is_in_the_data_folder_whatever_that_is_called(settings: Settings, tmp_path: Path, name: str):
    with in_process(replace(settings, data=tmp_path / name)) as client:
        finished(client)
    assert (tmp_path / name / "jobs.sqlite").stat().st_size > 0
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_nothing_is_said_where_nothing_is_strange(settings: Settings, first: str, caplog: pytest.LogCaptureFixture):
    with in_process(settings):
        pass
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING and record.name.startswith("multigrain")] == []
