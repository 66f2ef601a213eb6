"""Archives that nobody vouches for: all but files and folders of their own is refused by name."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epbt_optuna.checkpoints.archives import pack, unpack
from epbt_optuna.checkpoints.format import UnreadableError

Fill = Callable[[tarfile.TarFile], None]


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"x", **fields: Any) -> Fill:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode = kind, 0o755
        info.size = len(data) if kind == tarfile.REGTYPE else 0
        for field, value in fields.items():
            setattr(info, field, value)
        archive.addfile(info, io.BytesIO(data) if info.size == len(data) else None)

    return add


def folder(name: str) -> Fill:
    return member(name, tarfile.DIRTYPE)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Fill:
    return member(name, kind, linkname=target)


def archive_of(fills: list[Fill], layout: int) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=layout) as archive:
        for fill in fills:
            fill(archive)
    file.seek(0)
    return file


def long_links() -> list[Fill]:
    """Links so long that resolving them fails, and is then passed over (CVE-2025-4517)."""
    fills, path, component = [folder("content")], "content", "d" * 247
    for step in "abcdefghijklmnop":
        fills.append(folder(f"{path}/{component}"))
        fills.append(link(f"{path}/{step}", component))
        path += f"/{component}"
    fills.append(link("content/escape", "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/" + "l" * 254 + "/.."))
    return [*fills, member("content/escape/victim.txt")]


CONTENT = folder("content")
SPARSE_MAP = b"1\n0\n1\n".ljust(512, b"\0") + b"x"
SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**50)}


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    ("fills", "reason"),
    [
        ([link("content", "victim.txt")], "'content' is a symbolic link"),
        ([CONTENT, link("content/l", "../../victim.txt")], "'content/l' is a symbolic link"),
        ([CONTENT, link("content/l", "content", tarfile.LNKTYPE)], "'content/l' is a hard link"),
        ([CONTENT, link("content/l", "/etc/passwd", tarfile.LNKTYPE)], "is a hard link"),
        ([CONTENT, member("content/d", tarfile.CHRTYPE)], "'content/d' is neither"),
        ([CONTENT, member("content/d", tarfile.BLKTYPE)], "'content/d' is neither"),
        ([CONTENT, member("content/p", tarfile.FIFOTYPE)], "'content/p' is neither"),
        ([CONTENT, member("content/c", tarfile.CONTTYPE)], "'content/c' is neither"),
        ([CONTENT, member("content/z", b"Z")], "'content/z' is neither"),
        ([member("../victim.txt")], r"'\.\./victim\.txt' lies in no folder"),
        ([CONTENT, member("content/../../victim.txt")], "lies in no folder"),
        ([CONTENT, member("content/..")], r"'content/\.\.' is no name of a file"),
        ([CONTENT, member("content/./x")], "lies in no folder"),
        ([CONTENT, member("content//x")], "lies in no folder"),
        ([member("/content")], "'/content' lies in no folder"),
        ([CONTENT, member("/etc/victim.txt")], "lies in no folder"),
        ([member("content/x")], "'content/x' lies in no folder of the archive"),
        ([member("content"), member("content/x")], "'content/x' lies in no folder of the archive"),
        ([CONTENT, member("content/x"), folder("content/x")], "'content/x' is there twice"),
        ([CONTENT, member("content/x"), member("content/x")], "'content/x' is there twice"),
        ([CONTENT, CONTENT], "'content' is there twice"),
        ([CONTENT, member("content/x", size=10**9)], "'content/x' claims to have 1000000000 bytes"),
        ([CONTENT, member("victim.txt")], "was not written by a CheckpointStore"),
        ([member("readme")], "was not written by a CheckpointStore"),
        ([], "was not written by a CheckpointStore"),
    ],
)
def test_what_pack_does_not_write_is_refused_before_anything_is_written(
    tmp_path: Path, fills: list[Fill], reason: str, layout: int
) -> None:
    (tmp_path / "victim.txt").write_text("precious")
    with pytest.raises(UnreadableError, match=reason):
        unpack(archive_of(fills, layout), tmp_path / "inner" / "new")
    assert (tmp_path / "victim.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.rglob("*")] == ["victim.txt", "inner"]


@pytest.mark.parametrize(
    ("fills", "reason"),
    [
        (long_links(), "'content/a' is a symbolic link"),
        (
            [CONTENT, member("content/s", data=SPARSE_MAP, pax_headers=SPARSE)],
            "'content/s' is neither",
        ),
        ([CONTENT, member("content/x", pax_headers={"path": "content/../x"})], "lies in no folder"),
        ([CONTENT, member("content/x", pax_headers={"path": "content"})], "is there twice"),
        ([CONTENT, member("content/x", pax_headers={"path": "content/\0"})], "no name of a file"),
        ([CONTENT, member("content/x", pax_headers={"size": "-1024"})], "claims to have -1024"),
        ([CONTENT, member("content/x", pax_headers={"size": "1" * 30})], "claims to have 1111"),
    ],
)
def test_what_pax_headers_claim_is_what_is_checked(
    tmp_path: Path, fills: list[Fill], reason: str
) -> None:
    with pytest.raises(UnreadableError, match=reason):
        unpack(archive_of(fills, tarfile.PAX_FORMAT), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_python_s_filters_are_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def extractall(*_: object, **__: object) -> None:
        raise TypeError("extractall() got an unexpected keyword argument 'filter'")

    monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)
    monkeypatch.setattr(tarfile.TarFile, "extract", extractall)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    file = io.BytesIO()
    pack(tmp_path / "model", file)
    file.seek(0)
    unpack(file, tmp_path / "new")
    assert (tmp_path / "new" / "config.json").read_text() == "{}"


def test_two_names_that_are_one_file_here_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where "A" and "a" are one file, as on many systems, neither may replace the other."""
    opened = Path.open

    def open_folded(path: Path, *args: Any, **options: Any) -> Any:
        path = path.with_name(path.name.casefold()) if path.name == "A" else path
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", open_folded)
    fills = [CONTENT, member("content/A", mode=0o644), member("content/a", mode=0o644)]
    with pytest.raises(UnreadableError, match="'content/a' would be written twice"):
        unpack(archive_of(fills, tarfile.PAX_FORMAT), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_rights_that_an_archive_claims_are_not_given(tmp_path: Path) -> None:
    fills = [folder("content"), member("content/x", mode=0o7777), member("content/y", mode=0)]
    before = os.umask(0o027)
    try:
        unpack(archive_of(fills, tarfile.PAX_FORMAT), tmp_path / "new")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (tmp_path / "new").iterdir()}
    assert modes == {"x": 0o750, "y": 0o640}
