"""An answer that should be a picture: whole, and of the size that was asked for.

What it is not: the reading of pictures; that is `tildawn.picture`.
"""

from tildawn.guard.fault import InvalidAnswer
from tildawn.picture import Picture, read_picture


def check_picture(
    content: bytes, *, width: int | None = None, height: int | None = None
) -> Picture:
    """Make sure that bytes are a whole picture.

    Args:
        content: PNG, JPEG, WebP or GIF.
        width: the width asked for, in pixels, or None for any.
        height: the height asked for.

    Returns:
        What it is.

    Raises:
        InvalidAnswer: no picture, cut off, damaged, or of another size.
    """
    try:
        picture = read_picture(content)
    except ValueError as error:
        raise InvalidAnswer(str(error)) from error
    if width not in {None, picture.width} or height not in {None, picture.height}:
        detail = (
            f"the picture has {picture.width}x{picture.height} pixels,"
            f" asked was {width or 'any'}x{height or 'any'}"
        )
        raise InvalidAnswer(detail)
    return picture
