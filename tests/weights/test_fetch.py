from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.weights.conftest import HUB, Site, whats_there
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.weights import WeightFile, check, fetch, pull, resolve, state

Put = Callable[..., WeightFile]
WHOLE = {"model.onnx", "model.onnx.record.json"}
GONE = "http://127.0.0.1:9/model.onnx"


def test_a_pulled_file_is_in_place_and_nothing_else_is_left(
    site: Site, model: WeightFile, folder: Path, tmp_path: Path
) -> None:
    pull([model.name])
    (found,) = pull([model.name])
    assert found.status == "verified"
    assert found.path.read_bytes() == site.content
    assert resolve(model.name, offline=True) == folder / "model.onnx"
    assert whats_there(folder) == WHOLE
    assert len(site.requests) == 1
    (tmp_path / "usual").touch()
    assert found.path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_resolve_fetches_nothing_and_refuses_a_file_that_changed_and_pull_mends_it(
    site: Site, model: WeightFile, folder: Path
) -> None:
    with pytest.raises(MissingWeightsError, match=r"run: tpbench weights pull model$"):
        resolve(model.name)
    assert site.requests == []
    pull([model.name])
    (folder / "model.onnx").write_bytes(site.content[:-1])
    with pytest.raises(MissingWeightsError, match=r"not the file it should be.*weights pull model"):
        resolve(model.name)
    assert pull([model.name])[0].status == "verified"


def test_a_wrong_checksum_deletes_what_came_and_says_so(
    site: Site, model: WeightFile, folder: Path
) -> None:
    site.content = bytes(reversed(site.content))
    with pytest.raises(MissingWeightsError, match="wrong checksum, the copy was deleted"):
        pull([model.name])
    assert whats_there(folder) == set()
    assert len(site.requests) == 1


def test_a_cut_line_is_taken_up_again(site: Site, model: WeightFile, folder: Path) -> None:
    site.cut_after_bytes = [40_000, 10_000]
    assert pull([model.name])[0].status == "verified"
    on_hub = model.sources[0].startswith("https")
    assert site.requests == ([None, "bytes=40000-", "bytes=50000-"] if on_hub else [None] * 3)
    assert whats_there(folder) == WHOLE


def test_a_half_file_is_never_taken_for_whole(site: Site, model: WeightFile) -> None:
    site.cut_after_bytes = [0] * 20
    with pytest.raises(MissingWeightsError, match="--from PATH") as caught:
        pull([model.name])
    assert "\n" not in str(caught.value)
    assert state(model.name).status == "missing"
    site.cut_after_bytes = []
    assert pull([model.name])[0].status == "verified"


@pytest.fixture
def begun(site: Site, put: Put, folder: Path) -> Path:
    """The part of a pull from the hub that was killed after 40,000 bytes."""
    put()
    with pytest.MonkeyPatch.context() as patch:

        def killed(*_args: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("time.sleep", killed)
        site.cut_after_bytes = [40_000]
        with pytest.raises(KeyboardInterrupt):
            pull(["model"])
    site.requests.clear()
    (part,) = folder.glob(".partial-*/model.onnx.*.part")
    assert part.read_bytes() == site.content[:40_000]
    return part


@pytest.mark.parametrize(
    "fault", ["none", "another version", "knows no range", "part is longer", "says no length"]
)
def test_a_later_pull_goes_on_with_what_an_earlier_one_left_if_it_can(
    site: Site, begun: Path, folder: Path, put: Put, fault: str
) -> None:
    site.knows_range = fault != "knows no range"
    site.sends_length = fault != "says no length"
    if fault == "part is longer":
        begun.write_bytes(bytes(200_000))
    elif fault == "another version":
        site.content, site.etag = bytes(reversed(site.content)), '"v2"'
        put()
    assert pull(["model"])[0].status == "verified"
    assert whats_there(folder) == WHOLE
    if fault in ("none", "another version"):
        assert site.requests == ["bytes=40000-" if fault == "none" else None]


def test_not_found_is_said_at_once(site: Site, model: WeightFile, folder: Path) -> None:
    site.status = 404
    with pytest.raises(MissingWeightsError, match=r"404.*model\.onnx.*--from PATH$") as caught:
        pull([model.name])
    assert "\n" not in str(caught.value)
    assert len(site.requests) <= 1
    assert whats_there(folder) == set()


def test_an_overloaded_server_is_asked_again(site: Site, put: Put) -> None:
    put(sources=(site.url,))
    site.status = 503
    with pytest.raises(MissingWeightsError, match="503"):
        pull(["model"])
    assert len(site.requests) == fetch.ATTEMPTS


def test_a_file_that_cant_be_fetched_does_not_keep_the_others_from_being(
    site: Site, put: Put, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        put(name=name, filename=name, sources=(url,))
        for name, url in (("gone", GONE), ("there", site.url))
    ]
    monkeypatch.setattr("tpbench.weights.store.WEIGHTS", tuple(rows))
    with pytest.raises(MissingWeightsError) as caught:
        pull(["gone", "there"])
    assert "1 of 2 files can't be fetched, for the reasons above; the others are in" in str(
        caught.value
    )
    assert f"gone: {GONE}: " in caplog.text
    assert "run: tpbench weights pull gone; docs/weights.md" in str(caught.value)
    assert state("there").status == "verified"


@pytest.mark.parametrize("source", [GONE, HUB])
def test_a_server_that_is_not_there_is_one_clear_line(
    put: Put, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    put(sources=(source,))
    mirror = GONE.removesuffix("/model.onnx")
    monkeypatch.setenv("HF_ENDPOINT", mirror)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        f"{mirror}/{{repo_id}}/{{filename}}",
    )
    with pytest.raises(
        MissingWeightsError, match=rf"missing: {mirror}.*refused; to use a local copy"
    ) as caught:
        pull(["model"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sends_length", [True, False])
def test_no_more_is_taken_than_the_file_has(
    site: Site, model: WeightFile, folder: Path, put: Put, *, sends_length: bool
) -> None:
    site.sends_length = sends_length
    put(sources=model.sources, size_bytes=1_000)
    with pytest.raises(
        MissingWeightsError,
        match=r"model.onnx: (the server offers 100,000|sends more than 1,000) bytes",
    ):
        pull([model.name])
    assert state("model").status == "missing"
    assert len(site.requests) <= 1


def test_the_next_address_is_tried(site: Site, put: Put) -> None:
    put(sources=(GONE, site.url))
    assert pull(["model"])[0].status == "verified"
    put(sources=(GONE, GONE + "2"), filename="other")
    with pytest.raises(MissingWeightsError, match=r"model\.onnx:.*; http.*model\.onnx2:.*--from"):
        pull(["model"])


def test_the_users_token_goes_to_the_hub_alone(
    site: Site, model: WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    pull([model.name])
    on_hub = model.sources[0].startswith("https")
    assert set(site.tokens) == ({"Bearer hf_mine"} if on_hub else {None})


@pytest.mark.parametrize("right", [True, False])
def test_what_the_hubs_own_cache_holds_is_not_fetched_again(
    site: Site, put: Put, tmp_path: Path, *, right: bool
) -> None:
    put()
    snapshot = tmp_path / "hub" / "models--org--model" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.onnx").write_bytes(site.content if right else b"damaged")
    assert pull(["model"])[0].status == "verified"
    assert len(site.requests) == (0 if right else 1)
    assert (snapshot / "model.onnx").exists()


def test_what_the_hub_publishes_of_a_file_is_compared(site: Site, put: Put, folder: Path) -> None:
    put(sha256=None, size_bytes=None)
    site.etag = f'"{"0" * 64}"'
    with pytest.raises(MissingWeightsError, match="not the file that the hub offers"):
        pull(["model"])
    assert whats_there(folder) == set()


def test_unknown_name_asks_did_you_mean(put: Put) -> None:
    put()
    for ask in (resolve, state, lambda name: pull(["model", name]), lambda name: check([name])):
        with pytest.raises(ConfigError, match="did you mean 'model'"):
            ask("modle")
    assert state("model").status == "missing"


def test_offline_forbids_to_fetch(
    site: Site, model: WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_OFFLINE", "1")
    with pytest.raises(ConfigError, match="TPBENCH_OFFLINE"):
        pull([model.name])
    assert site.tokens == []


def test_without_a_published_checksum_the_first_pull_sets_it(
    site: Site, model: WeightFile, put: Put, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(sources=model.sources, sha256=None, size_bytes=None)
    assert pull(["model"])[0].status == "recorded"
    assert "no checksum of it is published" in caplog.text
    assert check(["model"])[0].sha256 == site.sha256
    (folder / "model.onnx").write_bytes(b"something else")
    assert check(["model"])[0].status == "changed"
    original, site.content = site.content, b"a new release"
    with pytest.raises(MissingWeightsError, match=r"delete .*model\.onnx\.record\.json"):
        pull(["model"])
    site.content = original
    assert pull(["model"])[0].status == "recorded"


def test_a_local_file_is_copied_and_checked(
    site: Site, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    monkeypatch.setenv("TPBENCH_OFFLINE", "1")
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(site.content)
    (found,) = pull(["model"], from_path=mine)
    assert found.status == "verified"
    assert mine.exists()
    assert site.tokens == []


def test_a_wrong_local_file_is_refused_and_kept(put: Put, tmp_path: Path, folder: Path) -> None:
    put()
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(b"another model")
    with pytest.raises(MissingWeightsError, match="wrong checksum"):
        pull(["model"], from_path=mine)
    put(sha256=None, size_bytes=7)
    with pytest.raises(MissingWeightsError, match=r"mine\.onnx has 13 bytes, the file has 7"):
        pull(["model"], from_path=mine)
    with pytest.raises(ConfigError, match="nothing: no such file"):
        pull(["model"], from_path=tmp_path / "nothing")
    assert mine.read_bytes() == b"another model"
    assert whats_there(folder) == set()


def test_an_unusable_cache_folder_or_a_full_disk_is_one_clear_line(
    model: WeightFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device", "model.onnx.part")

    monkeypatch.setattr(fetch._Bounded, "write", full)
    with pytest.raises(MissingWeightsError, match=r"part: No space left on device; TPBENCH_CACHE"):
        pull([model.name])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="set TPBENCH_CACHE"):
        pull([model.name])


@pytest.mark.parametrize("name", ["model.onnx", "the folder of parts"])
def test_nothing_is_written_through_a_link_that_somebody_planted(
    site: Site, model: WeightFile, folder: Path, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    folder.mkdir(parents=True)
    if name == "model.onnx":
        (victim / "file").write_text("mine")
        (folder / name).symlink_to(victim / "file")
        assert pull([model.name])[0].status == "verified"
        assert (victim / "file").read_text() == "mine"
    else:
        (folder / f".partial-{os.geteuid()}").symlink_to(victim)
        with pytest.raises(ConfigError, match="is a link, or not yours"):
            pull([model.name])
        assert not list(victim.iterdir())


_PULL_IN_A_PROCESS = """
    import sys
    from tpbench.weights import pull, store
    row = store.WeightFile(
        name="model", filename="model.onnx", licence="MIT", used_for="tests", sha256=sys.argv[1],
        sources=("https://huggingface.co/org/model/resolve/main/model.onnx",))
    store.WEIGHTS = (row,)
    print(pull(["model"])[0].status)
"""


def test_processes_that_pull_at_once_do_no_harm_and_ask_the_mirror(
    site: Site, put: Put, folder: Path, tmp_path: Path
) -> None:
    put()
    command = [sys.executable, "-c", textwrap.dedent(_PULL_IN_A_PROCESS), site.sha256]
    mirror = {"HF_ENDPOINT": site.url.removesuffix("/model.onnx"), "HF_HOME": str(tmp_path)}
    running = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | mirror,
        )
        for _ in range(3)
    ]

    said = [process.communicate(timeout=60) for process in running]

    assert [out.strip() for out, _ in said] == ["verified"] * 3, said
    assert [error for _, error in said] == [""] * 3
    assert len(site.requests) == 1
    assert resolve("model").read_bytes() == site.content
    assert whats_there(folder) == WHOLE


def test_the_lock_of_a_killed_holder_is_free(site: Site, put: Put) -> None:
    put()
    holder = """
        import os, sys, time
        from tpbench.weights.store import locked
        with locked("model.onnx"):
            print("held", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(holder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
    assert pull(["model"])[0].status == "verified"
    assert len(site.requests) == 1
