"""The decoder against Pillow: every format, EXIF orientation, and bytes that are no image."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_vit.data import exif
from keras_vit.data.decode import decode, decode_part, to_channels


def picture(mode: str = "RGB", size=(53, 37)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    image = Image.fromarray(noise).resize(size, Image.BICUBIC)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def encode(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pillow(encoded: bytes, mode="RGB") -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert(mode))


def orientation_exif(value: int, order: str) -> bytes:
    """An EXIF block whose first directory has another entry before the orientation."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entries = struct.pack(f"{order}HHIHH", 0x0106, 3, 1, 2, 0) + struct.pack(f"{order}HHIHH", 0x0112, 3, 1, value, 0)
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, 2) + entries + struct.pack(f"{order}I", 0)


FILES = {
    "jpeg": ("RGB", "JPEG", {"quality": 85}),
    "jpeg 4:4:4": ("RGB", "JPEG", {"subsampling": 0}),
    "progressive jpeg": ("RGB", "JPEG", {"progressive": True}),
    "grey jpeg": ("L", "JPEG", {}),
    "cmyk jpeg": ("CMYK", "JPEG", {}),
    "png": ("RGB", "PNG", {}),
    "rgba png": ("RGBA", "PNG", {}),
    "palette png": ("P", "PNG", {}),
    "transparent palette png": ("P", "PNG", {"transparency": 3}),
    "grey png": ("L", "PNG", {}),
    "grey alpha png": ("LA", "PNG", {}),
    "bitmap png": ("1", "PNG", {}),
    "webp": ("RGB", "WEBP", {}),
    "lossless rgba webp": ("RGBA", "WEBP", {"lossless": True, "exact": True}),
    "bmp": ("RGB", "BMP", {}),
    "grey bmp": ("L", "BMP", {}),
    "palette bmp": ("P", "BMP", {}),
    "rgba bmp": ("RGBA", "BMP", {}),
    "gif": ("P", "GIF", {}),
    "animated gif": ("P", "GIF", {"save_all": True, "append_images": [picture("P").rotate(90)]}),
}


@pytest.mark.parametrize("name", FILES)
def test_decodes_like_pillow(name):
    mode, form, options = FILES[name]
    encoded = encode(picture(mode), form, **options)
    np.testing.assert_allclose(decode(encoded).numpy().astype(int), pillow(encoded), atol=1)


def test_sixteen_bit_png_keeps_its_high_byte():
    values = np.random.default_rng(1).integers(0, 65536, (9, 7)).astype(np.uint16)
    decoded = decode(encode(Image.fromarray(values), "PNG")).numpy()
    np.testing.assert_array_equal(decoded, np.repeat((values >> 8)[..., None], 3, -1))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_grey_is_pillows_luma(mode):
    encoded = encode(picture(mode), "PNG")
    np.testing.assert_array_equal(decode(encoded, channels=1).numpy()[..., 0], pillow(encoded, "L"))


def test_channels_of_arrays():
    grey = tf.constant(np.asarray(picture("L"))[..., None])
    np.testing.assert_array_equal(to_channels(grey, 3), np.repeat(grey, 3, -1))
    assert to_channels(tf.constant(np.asarray(picture("RGBA"))), 3).shape == (37, 53, 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_is_undone(value, order):
    encoded = encode(picture(), "JPEG", exif=orientation_exif(value, order), quality=95)
    assert int(exif.orientation(encoded)) == value
    np.testing.assert_allclose(decode(encoded).numpy().astype(int), pillow(encoded), atol=1)


@pytest.mark.parametrize("name", FILES)
def test_a_part_is_cut_out_of_the_whole(name):
    mode, form, options = FILES[name]
    check_parts(encode(picture(mode), form, **options))


@pytest.mark.parametrize("value", range(1, 9))
def test_a_part_of_a_turned_photo_is_cut_out_of_the_whole(value):
    check_parts(encode(picture().resize((170, 90)), "JPEG", exif=orientation_exif(value, ">")))


def check_parts(encoded):
    """Random boxes, for RGB and grey."""
    rng = np.random.default_rng(0)
    for channels in (3, 1):
        whole = decode(encoded, channels).numpy()
        begins = [(0, 0), *(rng.integers(0, whole.shape[:2]) for _ in range(8))]
        for begin in begins:
            size = rng.integers(1, np.subtract(whole.shape[:2], begin) + 1)
            box = tf.constant(begin, tf.int32), tf.constant(size, tf.int32)
            part = decode_part(encoded, lambda shape, box=box: box, channels)
            (top, left), (height, width) = begin, size
            np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])


def test_exif_is_found_behind_other_segments():
    encoded = encode(picture(), "JPEG")  # has a JFIF segment
    comment = b"\xff\xfe" + struct.pack(">H", 302) + bytes(300)
    block = orientation_exif(6, ">")
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    end_of_jfif = 4 + struct.unpack(">H", encoded[4:6])[0]
    assert int(exif.orientation(encoded[:end_of_jfif] + comment + segment + encoded[end_of_jfif:])) == 6


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
        orientation_exif(0, "<"),
        orientation_exif(9, ">"),
        orientation_exif(77, "<"),
    ],
)
def test_damaged_exif_is_no_orientation(block):
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    encoded = encode(picture(), "JPEG")
    assert int(exif.orientation(encoded[:2] + segment + encoded[2:])) == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_truncated_files_fail(form):
    encoded = encode(picture(), form)
    with pytest.raises(tf.errors.OpError):
        decode(encoded[: len(encoded) * 2 // 3])


@pytest.mark.parametrize("encoded", [b"", b"B", b"hello, this is text", b"RIFF1234WAVE", b"\xff\xd8\xff"])
def test_what_is_no_image_fails(encoded):
    with pytest.raises(tf.errors.OpError):
        decode(encoded)


def test_runs_inside_a_saved_model(tmp_path):
    module = tf.Module()
    module.decode = tf.function(decode, input_signature=[tf.TensorSpec((), tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    encoded = encode(picture(), "JPEG", exif=orientation_exif(6, "<"))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.decode(tf.constant(encoded)), decode(encoded))
