"""The small script of icons holds those that the pages show, with the theme's own shapes."""

from pathlib import Path

import pytest

from minichin import icons

SCRIPT = (
    'a={github:[496,512,[],"f09b","M1 2"],sun:[512,512,[9728],"f185","M3"]},'
    'b={sun:[512,512,[9728],"f185","M4"],"file-pdf":[384,512,[],"f1c1","M5z"],pdf:[1,2,[],"aa","M6"]}'
)


def test_shapes_are_those_of_the_theme_and_solid_where_there_are_two():
    """Name, size and path; the last of two entries, which is the solid one; strangers are passed over."""
    assert icons.shapes(SCRIPT, {"sun", "file-pdf", "github", "solid"}) == {
        "file-pdf": [384, 512, "M5z"],
        "github": [496, 512, "M1 2"],
        "sun": [512, 512, "M4"],
    }


def test_the_script_holds_what_the_pages_show():
    """Icons of all pages are in it, others are not; a theme of another form is an error, not a blank."""
    pages = ['<i class="fas fa-sun fa-lg">', '<i class="fab fa-github">']
    script = icons.small(SCRIPT, pages)
    assert "M4" in script
    assert "M1 2" in script
    assert "M5z" not in script
    with pytest.raises(ValueError, match="its form has changed"):
        icons.small("nothing", pages)


def test_the_built_book_shows_icons_by_the_small_script(smoke_book: Path):
    """The book's own script is below 40 kilobytes and has the icons of the header and the sidebar."""
    script = (smoke_book / "_build" / "html" / "_static" / "scripts" / "fontawesome.js").read_text("utf-8")
    assert len(script) < 40_000
    for name in ("bars", "magnifying-glass", "chevron-down", "download", "circle-half-stroke", "github"):
        assert f'"{name}": [' in script
