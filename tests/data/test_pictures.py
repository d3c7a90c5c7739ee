"""Folders of pictures and CelebA: pixels cut and resized as said, and files that are no pictures named."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from helpers import format_files as files
from polyvae.data.errors import DataError
from polyvae.data.readers.pictures import centre_box, decode, listed, read_pictures
from polyvae.data.sources.celeba import _list, celeba


def folder(path, size=None, centre=True):
    """Pictures, numbers of classes, names of classes."""
    found, names = listed(path)
    x, places, note = read_pictures(path, found, size, centre)
    assert (places.tolist(), note) == ([*range(len(found))], None)
    if names is None:
        return x, None, []
    classes, y = np.unique(names, return_inverse=True)
    return x, y, classes.tolist()


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("1", 1), ("RGBA", 3), ("P", 3)])
def test_a_folder_of_classes_gives_its_pixels(tmp_path, mode, channels):
    written = files.image_folder(tmp_path, mode=mode)
    x, y, classes = folder(tmp_path)
    assert x.shape == (6, channels, 10, 12)
    assert y is not None
    assert y.tolist() == written["y"].tolist() == [0, 0, 0, 1, 1, 1]
    assert classes == ["cat", "dog"]
    if mode in ("RGB", "L"):
        np.testing.assert_array_equal(x, written["x"])
    if mode == "RGBA":
        np.testing.assert_array_equal(x, written["x"][:, :3])
    if mode == "1":
        np.testing.assert_array_equal(x, 255 * written["x"].astype(np.uint8))


def test_a_flat_folder_has_no_labels_and_other_files_are_passed_over(tmp_path):
    written = files.image_folder(tmp_path, classes=(), each=4)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_text("left behind by a file manager")
    x, y, classes = folder(tmp_path)
    np.testing.assert_array_equal(x, written["x"])
    assert (y, classes) == (None, [])
    files.image_folder(tmp_path, classes=("only",), each=1)
    assert folder(tmp_path)[1] is None


def test_one_grey_picture_among_colours_is_read_in_colour(tmp_path):
    files.image_folder(tmp_path, classes=(), each=2)
    Image.fromarray(files.pictures(1, 10, 12)[0]).save(tmp_path / "grey.png")
    x = folder(tmp_path)[0]
    assert x.shape == (3, 3, 10, 12)
    assert (x[2, 0] == x[2, 1]).all()


def test_pictures_of_another_size_than_most_are_named_and_not_most_of_them(tmp_path):
    for name, side in {"a": 20, "b": 16, "c": 16, "d": 16}.items():
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(
        DataError, match=r"found 1 of another size than 16x16, the most common: a\.png \(20x20\); .*to 64x64"
    ):
        folder(tmp_path)


def test_sizes_are_made_equal_by_cutting_the_middle_or_squeezing(tmp_path):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(np.full((30, 30, 3), 100, np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(
        DataError, match=r"one size, found 1 of another size than 40x20, the first's: b\.png \(30x30\); "
    ):
        folder(tmp_path)
    x = folder(tmp_path, size=10)[0]
    assert x.shape == (2, 3, 10, 10)
    assert (x[0] == 200).all()
    assert (x[1] == 100).all()
    squeezed = folder(tmp_path, size=10, centre=False)[0]
    assert squeezed[0, 0, 5, [0, 9]].tolist() == [0, 0]
    assert squeezed[0, 0, 5, 5] == 200


def test_resizing_averages_over_the_area(tmp_path):
    board = (np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    x = folder(tmp_path, size=8)[0]
    assert np.abs(x.astype(int) - 127.5).max() < 8  # without averaging it would be all black or all white


def test_a_photograph_is_held_upright(tmp_path):
    upright = np.zeros((20, 10, 3), np.uint8)
    upright[:10] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    Image.fromarray(upright).save(tmp_path / "b.jpg", quality=95)
    x = folder(tmp_path)[0].astype(int)
    assert x.shape == (2, 3, 20, 10)
    assert np.abs(x[0] - x[1]).max() < 20


def test_a_palette_with_transparency_is_read(tmp_path):
    Image.fromarray(files.pictures(1, 6, 6)[0]).convert("P").save(tmp_path / "a.png", transparency=b"\0\x80\xff")
    assert folder(tmp_path)[0].shape == (1, 3, 6, 6)


def _png(mode="RGB"):
    buffer = io.BytesIO()
    Image.fromarray(files.pictures(1, 40, 40, 3)[0]).convert(mode).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "UnidentifiedImageError"), (b"<html>404</html>", "UnidentifiedImageError"), (_png()[:1500], "OSError"),
     (_png()[:40], "a picture"), (_png("I;16"), "mode I;16")],
    ids=["empty", "a web page", "truncated", "cut header", "sixteen bits"],
)  # fmt: skip
def test_a_file_that_is_no_picture_is_named(tmp_path, content, word):
    files.image_folder(tmp_path, classes=(), each=2)
    (tmp_path / "3.png").write_bytes(content)
    with pytest.raises(DataError) as error:
        folder(tmp_path, size=8)
    assert str(tmp_path / "3.png") in str(error.value)
    assert word in str(error.value)


def broken(folder, count=3):
    """Ten good pictures among files that are empty, text or cut off."""
    files.image_folder(folder, classes=(), each=10)
    for number in range(count):
        (folder / f"b{number:02}.png").write_bytes((b"", b"<html>404</html>", _png()[:1500])[number % 3])


def test_every_file_that_is_no_picture_is_named_at_once(tmp_path):
    broken(tmp_path)
    with pytest.raises(DataError) as error:
        folder(tmp_path, size=8)
    assert "3 of 13 files cannot be read as pictures: b00.png, b01.png, b02.png; delete" in str(error.value)
    assert "skip_bad=True" in str(error.value)
    broken(tmp_path, count=25)
    with pytest.raises(DataError, match=r"25 of 35 files .*b19\.png and 5 more; "):
        folder(tmp_path, size=8)


def test_broken_files_and_other_sizes_are_told_in_one_message(tmp_path):
    broken(tmp_path)
    for name in ("y.png", "z.png"):
        Image.fromarray(np.zeros((9, 7), np.uint8)).save(tmp_path / name)
    with pytest.raises(DataError) as error:
        folder(tmp_path)
    for words in (
        "b00.png, b01.png, b02.png; 2 of another size than",
        "y.png (7x9), z.png (7x9)",
        "size=64",
        "skip_bad=True",
    ):
        assert words in str(error.value)
    with pytest.raises(DataError) as error:
        read_pictures(tmp_path, listed(tmp_path)[0], skip_bad=True)
    assert "found 2 of another size than" in str(error.value)
    assert "skip_bad" not in str(error.value)


def test_files_that_are_no_pictures_are_skipped_when_asked(tmp_path):
    broken(tmp_path)
    x, places, note = read_pictures(tmp_path, listed(tmp_path)[0], 8, skip_bad=True)
    assert note == f"{tmp_path}: 3 of 13 files cannot be read as pictures: b00.png, b01.png, b02.png, and left out"
    assert places.tolist() == [*range(10)]
    for path in tmp_path.glob("b*.png"):
        path.unlink()
    np.testing.assert_array_equal(x, folder(tmp_path, size=8)[0])
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="at least one picture"):
        read_pictures(tmp_path, listed(tmp_path)[0], 8, skip_bad=True)


def test_a_picture_too_large_to_be_meant_is_named(tmp_path, monkeypatch):
    files.image_folder(tmp_path, classes=(), each=1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"0\.png.*DecompressionBomb"):
        folder(tmp_path)


def test_an_empty_or_absent_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"expected a folder of pictures, found none; put files"):
        folder(tmp_path)
    with pytest.raises(DataError, match=r"nowhere.*no such folder"):
        folder(tmp_path / "nowhere")


def test_the_middle_of_celeba_is_the_usual_crop():
    assert centre_box(178, 218, 148) == (15, 35, 163, 183)
    assert centre_box(10, 4, 8) == (1, 0, 9, 4)


def test_decode_writes_into_a_memory_mapped_array(tmp_path):
    written = files.image_folder(tmp_path, classes=(), each=3)
    out = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (3, 3, 10, 12))
    assert decode(sorted(tmp_path.glob("*.png")), "RGB", (10, 12), out=out) is out
    np.testing.assert_array_equal(out, written["x"])


def test_order_is_kept_over_many_chunks_of_work(tmp_path):
    for number in range(150):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / f"{number:03}.png")
    assert folder(tmp_path)[0][:, 0, 0, 0].tolist() == list(range(150))


@pytest.mark.parametrize(("sides", "box"), [((89, 109), (8, 18, 82, 92)), ((178, 218), (15, 35, 163, 183))])
def test_celeba_is_cut_in_proportion_and_resized(tmp_path, sides, box):
    written = files.celeba(tmp_path, count=5, listed=9, sides=sides)
    found = celeba(tmp_path, size=32)
    for name in ("attributes", "partition", "names"):
        np.testing.assert_array_equal(found[name], written[name])
    whole = [Image.fromarray(picture) for picture in written["x"]]
    cut = np.stack([np.asarray(picture.crop(box).resize((32, 32), Image.Resampling.BILINEAR)) for picture in whole])
    assert np.abs(found["x"].astype(int) - cut.transpose(0, 3, 1, 2)).max() <= 6  # JPEG's loss
    squeezed = celeba(tmp_path, size=32, centre=False)["x"].astype(int)
    small = np.stack([np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR)) for picture in whole])
    assert np.abs(squeezed - small.transpose(0, 3, 1, 2)).max() <= 6


def test_the_real_celeba_lists(real_data):
    if real := real_data("celeba"):
        chosen = sorted((real / "img_align_celeba").glob("*.jpg"))[:10]
        names, attributes = _list(real / "list_attr_celeba.txt", chosen, head=2)
        assert len(names) == 40
        assert attributes[0].tolist().count(1) == 13
        assert attributes[0][names.index("Smiling")] == 1
        assert decode(chosen, "RGB", (64, 64)).shape == (10, 3, 64, 64)


def test_bad_celeba_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"img_align_celeba: expected CelebA's aligned pictures"):
        celeba(tmp_path)
    files.celeba(tmp_path, count=3)
    attributes, partition = tmp_path / "list_attr_celeba.txt", tmp_path / "list_eval_partition.txt"
    good = attributes.read_text(), partition.read_text()
    cases = [
        (attributes, good[0].replace("000002.jpg", "900002.jpg"), r"a line for 000002\.jpg, found none"),
        (attributes, good[0].replace("-1", " 3", 1), "to 3"),
        (attributes, good[0].replace("Attribute_7", ""), "39 names and 40 columns"),
        (attributes, good[0].rstrip()[:-3], "ValueError"),
        (attributes, "", "IndexError"),
        (partition, good[1].replace("jpg 1", "jpg 5"), "0, 1 or 2"),
        (partition, good[1].replace("jpg 1", "jpg x"), "ValueError"),
        (partition, good[1].replace("jpg 1", "jpg 500"), "Error"),
    ]
    for path, text, word in cases:
        path.write_text(text)
        with pytest.raises(DataError, match=rf"{path.name}.*{word}"):
            celeba(tmp_path)
        attributes.write_text(good[0])
        partition.write_text(good[1])
    (tmp_path / "img_align_celeba" / "000002.jpg").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"000002\.jpg.*UnidentifiedImageError"):
        celeba(tmp_path)
    partition.unlink()
    with pytest.raises(DataError, match=r"list_eval_partition\.txt.*no such file"):
        celeba(tmp_path)


def test_a_terminal_sees_how_many_of_many_pictures_are_read(tmp_path, monkeypatch, capsys):
    picture = io.BytesIO()
    Image.new("L", (2, 2)).save(picture, "png")
    for number in range(1000):
        (tmp_path / f"{number}.png").write_bytes(picture.getvalue())
    monkeypatch.setenv("TERM", "xterm")
    found, _ = listed(tmp_path)
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        assert len(read_pictures(tmp_path, found)[0]) == 1000
        shown = capsys.readouterr().err
        assert ("1000/1000" in shown and "decoding pictures" in shown) is terminal
        assert terminal or not shown
