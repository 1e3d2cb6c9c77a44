from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuronwise.data.images import read_images
from neuronwise.data.pictures import MAX_SIDE
from neuronwise.errors import DataError


def picture(path: Path, *, value: int = 0, size: tuple[int, int] = (4, 3), mode: str = "L") -> Path:
    """Write a picture of one value; `size` is (h, w)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode in ("L", "I;16", "1") else (value,) * len(mode)
    Image.new(mode, (size[1], size[0]), colour).save(path)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for index in range(3):
        picture(folder / "cat" / f"{index}.png", value=10 + index)
    for index in range(2):
        picture(folder / "dog" / f"{index}.png", value=20 + index)
    return folder


def test_each_sub_folder_is_a_class(pets: Path) -> None:
    data = read_images(pets)
    assert data.images.shape == (5, 4, 3)
    assert data.images.dtype == np.uint8
    assert data.images[:, 0, 0].tolist() == [10, 11, 12, 20, 21]
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 0, 1, 1]
    assert data.labels.dtype == np.int64
    assert data.class_names == ["cat", "dog"]
    assert data.image_names == ["cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png"]
    assert data.name == "pets"
    assert data.maximum == 255
    assert data.test_images is None
    assert data.notes == []


def test_classes_and_files_are_in_natural_order(tmp_path: Path) -> None:
    for name in ("10", "9", "1"):
        picture(tmp_path / name / "b10.png", value=2)
        picture(tmp_path / name / "b9.png", value=1)
    data = read_images(tmp_path)
    assert data.class_names == ["1", "9", "10"]
    assert data.images[:, 0, 0].tolist() == [1, 2] * 3


@pytest.mark.parametrize("ending", ["png", "PNG", "jpg", "jpeg", "gif", "bmp", "webp"])
def test_all_common_formats_are_read(ending: str, tmp_path: Path) -> None:
    for index, name in enumerate(("dark", "light")):
        picture(tmp_path / name / f"a.{ending}", value=40 + 100 * index, size=(8, 8))
    data = read_images(tmp_path, channels=1)
    assert data.images.shape == (2, 8, 8)
    assert np.abs(data.images.astype(int) - [[[40]], [[140]]]).max() <= 2


def test_axes_are_rows_then_columns(tmp_path: Path) -> None:
    array = np.zeros((3, 5, 3), np.uint8)
    array[1, 4] = (9, 8, 7)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(array).save(tmp_path / name / "x.png")
    data = read_images(tmp_path)
    np.testing.assert_array_equal(data.images, np.stack([array, array]))


def test_grey_and_colour_together_are_read_as_colour(pets: Path) -> None:
    picture(pets / "dog" / "colour.png", value=99, mode="RGB")
    Image.new("RGB", (3, 4), (255, 0, 0)).save(pets / "dog" / "red.png")
    data = read_images(pets)
    assert data.images.shape == (7, 4, 3, 3)
    assert data.images[-1, 0, 0].tolist() == [255, 0, 0]
    assert data.images[0, 0, 0].tolist() == [10, 10, 10]
    assert "5 grey pictures read as colour, like the other 2." in data.notes


def test_colour_can_be_turned_to_grey_and_back(pets: Path) -> None:
    assert read_images(pets, channels=3).images.shape == (5, 4, 3, 3)
    picture(pets / "dog" / "colour.png", value=99, mode="RGB")
    data = read_images(pets, channels=1)
    assert data.images.shape == (6, 4, 3)
    assert data.images[-1, 0, 0] == 99
    assert "1 colour picture turned to grey." in data.notes


def test_a_grey_palette_is_grey_and_a_coloured_one_is_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / name / "x.gif", value=7)
    assert read_images(tmp_path).images.shape == (2, 4, 3)
    Image.new("RGB", (3, 4), (200, 10, 10)).convert("P").save(tmp_path / "b" / "y.png")
    data = read_images(tmp_path)
    assert data.images.shape == (3, 4, 3, 3)
    assert np.abs(data.images[2, 0, 0].astype(int) - [200, 10, 10]).max() < 40


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    for name, value in (("a", 65535), ("b", 25700)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((2, 2), value, np.uint16)).save(tmp_path / name / "x.png")
    assert read_images(tmp_path).images[:, 0, 0].tolist() == [255, 100]


def test_transparent_parts_lie_on_white(pets: Path) -> None:
    Image.new("RGBA", (3, 4), (0, 0, 0, 0)).save(pets / "dog" / "clear.png")
    data = read_images(pets)
    assert (data.images[-1] == 255).all()
    assert "1 partly transparent picture laid on white." in data.notes


def test_a_picture_that_the_camera_turned_stands_upright(tmp_path: Path) -> None:
    array = np.zeros((16, 32), np.uint8)
    array[:, :16] = 255  # the left half; turned by a quarter to the right it is the upper half
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(array).save(tmp_path / name / "x.jpg", exif=exif, quality=95)
    data = read_images(tmp_path)
    assert data.images.shape == (2, 32, 16)
    assert data.images[0, :15].min() > 200
    assert data.images[0, 17:].max() < 50
    assert data.notes == []


def test_only_the_first_frame_of_an_animation_is_read(pets: Path) -> None:
    frames = [Image.new("L", (3, 4), value) for value in (50, 60)]
    frames[0].save(pets / "dog" / "film.gif", save_all=True, append_images=frames[1:])
    data = read_images(pets)
    assert data.images[-1, 0, 0] == 50
    assert "1 animated picture: only the first frame was read." in data.notes


def test_pictures_of_other_sizes_are_resized_to_the_most_frequent(pets: Path) -> None:
    picture(pets / "dog" / "large.png", value=77, size=(40, 40))
    data = read_images(pets)
    assert data.images.shape == (6, 4, 3)
    assert (data.images[-1] == 77).all()
    assert any("2 different sizes; the most frequent is 4 × 3 pixels" in note for note in data.notes)
    assert any(note.startswith("1 of 6 pictures were resized to 4 × 3 pixels") for note in data.notes)


def test_large_pictures_are_bounded_unless_a_size_is_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / name / "x.png", value=5, size=(200, 400))
    data = read_images(tmp_path)
    assert data.images.shape == (2, 64, MAX_SIDE)
    assert any("limited to 128 pixels" in note for note in data.notes)
    assert read_images(tmp_path, image_size=(200, 400)).images.shape == (2, 200, 400)
    assert read_images(tmp_path, image_size=(200, 400)).notes == []
    assert read_images(tmp_path, image_size=(10, 7)).images.shape == (2, 10, 7)


def test_what_is_no_picture_is_ignored_and_counted(pets: Path) -> None:
    (pets / ".DS_Store").write_bytes(b"x")
    (pets / "cat" / ".hidden.png").write_bytes(b"x")
    (pets / ".git").mkdir()
    picture(pets / ".git" / "no.png")
    (pets / "README.txt").write_text("x")
    (pets / "dog" / "labels.csv").write_text("x")
    picture(pets / "loose.png")
    (pets / "empty").mkdir()
    data = read_images(pets)
    assert data.class_names == ["cat", "dog"]
    assert len(data) == 5
    assert data.notes == [
        "3 hidden files ignored.",
        "2 files that no picture reader knows ignored.",
        "1 picture outside the sub-folders ignored: no class is known.",
        "Sub-folders without a picture are no classes: empty.",
    ]


def test_deeper_folders_belong_to_their_class(pets: Path) -> None:
    picture(pets / "dog" / "puppies" / "p.png", value=30)
    data = read_images(pets)
    assert data.class_names == ["cat", "dog"]
    assert "dog/puppies/p.png" in data.image_names


def test_train_and_test_folders_are_the_split(tmp_path: Path) -> None:
    for part, n in (("train", 2), ("test", 1), ("val", 1)):
        for name in ("cat", "dog"):
            for index in range(n):
                picture(tmp_path / part / name / f"{index}.png", value={"train": 1, "test": 2, "val": 3}[part])
    data = read_images(tmp_path)
    assert data.class_names == ["cat", "dog"]
    assert sorted(data.images[:, 0, 0].tolist()) == [1, 1, 1, 1, 3, 3]
    assert data.test_images is not None
    assert data.test_labels is not None
    assert data.test_images[:, 0, 0].tolist() == [2, 2]
    assert data.test_labels.tolist() == [0, 1]
    assert data.notes == [
        "The pictures of val/ were added to the training rows.",
        "test/ is the test split (2 pictures).",
    ]
    picture(tmp_path / "test" / "cow" / "0.png")
    with pytest.raises(DataError, match="class without training pictures: cow"):
        read_images(tmp_path)


def test_train_beside_other_classes_is_a_class(tmp_path: Path) -> None:
    for name in ("train/steam", "ship"):
        picture(tmp_path / name / "x.png")
    assert read_images(tmp_path).class_names == ["ship", "train"]


def test_a_picture_that_cannot_be_read_is_named(pets: Path) -> None:
    bad = pets / "dog" / "0.png"
    whole = bad.read_bytes()
    for content in (b"", b"no picture at all", whole[:40], whole[:-30]):
        bad.write_bytes(content)
        with pytest.raises(DataError, match="the picture cannot be read") as caught:
            read_images(pets)
        assert caught.value.where == str(bad)
    bad.write_bytes(b"no picture at all")
    with pytest.raises(DataError, match="it is not one of PNG, JPEG, GIF, BMP, WEBP"):
        read_images(pets)


def test_other_formats_are_not_tried_whatever_the_name_says(pets: Path) -> None:
    Image.new("L", (3, 4)).save(pets / "dog" / "0.png", format="TIFF")
    with pytest.raises(DataError, match="it is not one of PNG"):
        read_images(pets)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(pets: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 12_000, 12_000, 8, 0, 0, 0, 0))
    (pets / "cat" / "0.png").write_bytes(bomb + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="declares more than 100,000,000 pixels: not unpacked"):
        read_images(pets)
    worse = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 60_000, 60_000, 8, 0, 0, 0, 0))
    (pets / "cat" / "0.png").write_bytes(worse + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="declares more than"):
        read_images(pets)


def test_too_many_pixels_in_all_are_refused_before_memory_is_taken(pets: Path) -> None:
    picture(pets / "dog" / "sixth.png")
    with pytest.raises(DataError, match=r"6 images of 16384 × 16384 pixels would take 4.8 GB.*limit(.|\n)*image_size="):
        read_images(pets, image_size=(16384, 16384), channels=3)


def test_pictures_without_sub_folders_are_refused_with_advice(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    for index in range(3):
        picture(folder / f"{index}.png", value=index)
    with pytest.raises(DataError, match=r"3 pictures, but no sub-folders(.|\n)*flat/cat/1.png"):
        read_images(folder)
    data = read_images(folder, labelled=False)
    assert data.labels is None
    assert data.class_names == []
    assert data.image_names == ["0.png", "1.png", "2.png"]
    assert data.images[:, 0, 0].tolist() == [0, 1, 2]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pictures in this folder\n.*one sub-folder per class"):
        read_images(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("x")
    with pytest.raises(DataError, match=r"no pictures in this folder \(1 other files\)"):
        read_images(tmp_path)
    with pytest.raises(DataError, match="no pictures in this folder"):
        read_images(tmp_path, labelled=False)


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png")
    picture(tmp_path / "cat" / "b.png")
    with pytest.raises(DataError, match="only one class: all 2 pictures are in the sub-folder 'cat'"):
        read_images(tmp_path)


def test_a_single_picture_has_no_label(tmp_path: Path) -> None:
    path = picture(tmp_path / "x.png", value=33, size=(6, 5), mode="RGB")
    data = read_images(path)
    assert data.images.shape == (1, 6, 5, 3)
    assert data.labels is None
    assert data.image_names == ["x.png"]
    data = read_images(str(path), image_size=(3, 2), channels=1)
    assert data.images.tolist() == [[[33, 33]] * 3]


def test_reading_a_folder_leaves_the_warning_filters_alone(pets: Path) -> None:
    import warnings

    before = list(warnings.filters)
    read_images(pets)
    assert list(warnings.filters) == before


def test_photographs_are_read_upright_and_in_colour(shared_data: Path) -> None:
    data = read_images(shared_data / "images" / "chelsea.png", image_size=(300, 451))
    with Image.open(shared_data / "images" / "chelsea.png") as opened:
        np.testing.assert_array_equal(data.images[0], np.asarray(opened))
    bounded = read_images(shared_data / "images" / "chelsea.png")
    assert bounded.images.shape == (1, 85, 128, 3)
    assert read_images(shared_data / "images" / "camera.png").images.shape == (1, 128, 128)
    assert read_images(shared_data / "images" / "rocket.jpg").images.shape == (1, 85, 128, 3)
