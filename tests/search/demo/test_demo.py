"""The page to try a model, asked by a program and used in a browser."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from search.cli.app import invoke
from search.data import Decoding
from search.demo import server as demo
from search.demo.server import DemoServer
from search.results.exported_model import save_model
from search.results.predicting import Predictor, predict_files
from tests.support.chromium import chromium

NAMES = ("cat", "<script>alert(1)</script>", "owl")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    path = tmp_path_factory.mktemp("run") / "model.keras"
    save_model(path, network, NAMES, Decoding(size=(8, 8), fit="crop"))
    return path


@pytest.fixture
def server(model: Path) -> Iterator[DemoServer]:
    with DemoServer(Predictor(model), title="run/model.keras") as started:
        thread = threading.Thread(target=started.serve_forever)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def ask(
    server: DemoServer, content: bytes, path: str = "predict", **headers: str
) -> dict[str, object]:
    request = urllib.request.Request(server.address + path, data=content, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def test_an_image_gets_the_classes_that_predict_gives_it(
    server: DemoServer, model: Path, photo: Path
) -> None:
    answer = ask(server, photo.read_bytes())

    best = predict_files(model, [photo]).best(0, 3)
    assert answer["model"] == "run/model.keras"
    assert answer["classes"] == [
        {"name": name, "probability": pytest.approx(part)} for name, part in best
    ]


def test_what_is_no_image_is_said(server: DemoServer) -> None:
    assert "problem" in ask(server, b"not an image")


def test_an_image_of_any_size_does_not_fill_the_memory(
    server: DemoServer, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_MOST_BYTES", 10)

    assert "more than" in str(ask(server, photo.read_bytes())["problem"])


@pytest.mark.parametrize(
    ("path", "host", "code"),
    [("elsewhere", "127.0.0.1:1", 400), ("predict", "evil.example:80", 403)],
)
def test_other_questions_are_refused(server: DemoServer, path: str, host: str, code: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server, b"x", path, Host=host)

    with refused.value as answer:
        assert answer.code == code


def test_a_taken_port_and_a_missing_model_end_with_code_2(
    server: DemoServer, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(server.server_address[1])

    assert invoke(["--model", str(model), "--port", port], command="demo") == 2
    assert f"received {port}" in capsys.readouterr().err
    assert invoke(["--model", "nothing.keras"], command="demo") == 2
    assert "nothing.keras" in capsys.readouterr().err


def test_ctrl_c_ends_it(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(server: DemoServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DemoServer, "serve_forever", interrupt)

    assert invoke(["--model", str(model), "--no-browser"], command="demo") == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_a_person_chooses_an_image_and_sees_its_classes(
    server: DemoServer, photo: Path, tmp_path: Path
) -> None:
    with chromium(tmp_path / "profile") as browser:
        browser.get(server.address)
        browser.find_element(By.ID, "file").send_keys(str(photo))
        WebDriverWait(browser, 60).until(
            lambda driver: driver.find_element(By.ID, "classes").is_displayed()
        )
        page = browser.find_element(By.TAG_NAME, "body").text
        complaints = browser.get_log("browser")  # type: ignore[no-untyped-call]

    assert all(name in page for name in NAMES)
    assert "Predicted by run/model.keras" in page
    severe = [entry["message"] for entry in complaints if entry["level"] == "SEVERE"]
    assert [message for message in severe if "favicon" not in message] == []
