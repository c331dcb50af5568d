"""Names that come from outside, as text that can be shown and stored."""

_UNDECODABLE = range(0xDC80, 0xDD00)  # how Python keeps the bytes of names that are not UTF-8


def shown(name: str) -> str:
    """Returns a name with everything escaped that a terminal, a log or a figure cannot show."""
    return name if name.isprintable() else "".join(map(_escaped, name))


def decoded(name: str) -> str:
    """Returns a file's name as the text that its bytes are in UTF-8.

    Where the file system's encoding is ASCII, Python keeps such bytes as surrogates. Bytes that
    are not UTF-8 stay surrogates.
    """
    if name.isascii():
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate of another kind, which Windows allows
        return name


def is_text(name: str) -> bool:
    """Returns whether a name can be stored in UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if ord(character) in _UNDECODABLE:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
