from pathlib import Path

import pytest

from tests.tuner.conftest import MakeLoop
from tuner.folder import Folder
from tuner.mlflow_study import remember, tracking_uri


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_studies_side_by_side_share_a_database(make_loop: MakeLoop, tmp_path: Path) -> None:
    study = make_loop().studies[0]
    uris = {tracking_uri(None, Folder(tmp_path / "studies" / n), study) for n in ("a", "b")}
    assert uris == {f"sqlite:///{tmp_path}/studies/mlflow.db"}


def test_a_study_elsewhere_has_its_own(make_loop: MakeLoop, tmp_path: Path) -> None:
    uri = tracking_uri(None, Folder(tmp_path / "mine"), make_loop().studies[0])
    assert uri == f"sqlite:///{tmp_path}/mine/mlflow.db"


def test_what_is_asked_for_now_comes_before_what_was_and_that_before_the_environment(
    make_loop: MakeLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, folder = make_loop().studies[0], Folder(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert tracking_uri(None, folder, study) == "http://environment"
    remember("http://then", study)
    assert tracking_uri(None, folder, study) == "http://then"
    assert tracking_uri("http://now", folder, study) == "http://now"
    assert tracking_uri("off", folder, study) is None


def test_an_address_with_a_password_is_not_kept(make_loop: MakeLoop) -> None:
    study = make_loop().studies[0]
    before = study.user_attrs
    remember("http://me:s3cret@server", study)
    assert study.user_attrs == before


def test_a_study_told_off_stays_off(make_loop: MakeLoop, tmp_path: Path) -> None:
    study = make_loop().studies[0]
    remember("off", study)
    assert tracking_uri(None, Folder(tmp_path), study) is None
