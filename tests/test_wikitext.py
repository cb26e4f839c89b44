"""Cleaning leaves what a reader would read, tried on small pages made by hand."""

import pytest

from minichin import wikitext

LONG = "This sentence is here to make the article long enough to be no stub at all. " * 4


def page(title: str, markup: str) -> str:
    escaped = markup.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return (
        f"<page>\n<title>{title}</title>\n<id>1</id>\n"
        f'<revision><text xml:space="preserve">{escaped}</text></revision>\n</page>\n'
    )


DUMP = (
    "<mediawiki><siteinfo><sitename>Wikipedia</sitename></siteinfo>\n"
    + page("Owl", "'''Owls''' are [[bird|birds]]. " + LONG)
    + page("Stub", "An owl is a bird.")
    + page("Owls", "#REDIRECT [[Owl]]")
    + page("Strix", "  #redirect [[Owl]] " + LONG)
    + page("Wikipedia:About", LONG)
    + page("Image:Owl.jpg", LONG)
    + page("Final Fantasy: Owls", "A game. " + LONG)
    + "<page><title>Cut off</title><text xml:space='preserve'>The dump ends in the midd"
)


def test_articles_are_kept_and_all_else_is_not() -> None:
    """Stubs, redirects, pages of other namespaces and the page that the dump's end cuts off are left out."""
    texts = [text.decode() for text in wikitext.documents(DUMP.encode())]
    assert [text[:13] for text in texts] == ["Owls are bird", "A game. This "]
    assert len(wikitext.documents(DUMP.encode(), shortest=1)) == 3


def test_a_dump_cut_inside_a_character_is_read() -> None:
    """The first 1e8 bytes of a dump may end in the middle of a character."""
    assert len(wikitext.documents(DUMP.encode() + "é".encode()[:1])) == 2


@pytest.mark.parametrize(
    ("markup", "prose"),
    [
        ("'''Bold''' and ''italic'' and '''''both'''''.", "Bold and italic and both."),
        ("A [[link]], a [[target|shown one]], [[Wikipedia:About]].", "A link, a shown one, About."),
        ("[[Image:x.jpg|thumb|A [[nested]] caption with [http://x.org a site]]]Text.", "Text."),
        ("Text.[[Category:Owls]][[de:Eulen]][[zh-min-nan:X]][[simple:Owl]]", "Text."),
        ("See [http://x.org the site] or http://y.org/z or [http://z.org].", "See the site or or."),
        ("Before{{box|a={{inner|b}}|c=\n{|\n|cell\n|}\n}} after.", "Before after."),
        ("Before\n{| class=x\n|-\n| a || b\n{|\n| inner\n|}\n|}\nafter.", "Before\n\nafter."),
        ("A claim<ref name=a>source</ref>, again<ref name=a />.", "A claim, again."),
        ("So <math>x^2</math> is <b>bold</b><!-- hidden\nnote -->.", "So is bold."),
        ("10<sup>6</sup> m<sup>2</sup>, H<sub>2</sub>O", "10^6 m^2, H2O"),
        ("one<br/>two<BR>three", "one\ntwo\nthree"),
        ("1990&ndash;95, 5&nbsp;km, caf&eacute; &amp; bar", "1990–95, 5 km, café & bar"),
        ("* one\n** two\n# three\n: four", "one\ntwo\nthree\nfour"),
        ("Owl (, pronounced {{IPA|aul}}) (''{{lang|x}}'') flies .", "Owl (pronounced) flies."),
        ("__NOTOC__\nText\n----\nmore", "Text\n\nmore"),
        ("a < b and c > d", "a < b and c > d"),
        ("Text\n|} left over\n| of a table\nmore", "Text\n\nmore"),
    ],
)
def test_markup_becomes_what_is_read_aloud(markup: str, prose: str) -> None:
    """Each construct of wiki markup, alone, against the text written by hand."""
    assert wikitext.prose(markup) == prose


def test_sections_of_links_and_empty_headings_go() -> None:
    """See also, references and external links vanish with all below them; a heading stays if text follows."""
    markup = (
        "Intro.\n== History ==\n=== Early ===\nText.\n=== Empty ===\n== Table ==\n{|\n|a\n|}\n"
        "== See also ==\n* [[Eagle]]\n=== More ===\n* [[Hawk]]\n== Legacy ==\nEnd.\n"
        "==External links==\n* [http://x y]"
    )
    assert wikitext.prose(markup) == "Intro.\n\nHistory\n\nEarly\n\nText.\n\nLegacy\n\nEnd."


def test_broken_markup_neither_hangs_nor_swallows_the_article() -> None:
    """Unclosed templates, tables, links and comments cost their own lines, in linear time."""
    text = wikitext.prose(
        "Start.\n{{never closed\n\n{| no end\n[[nor this\n\n" + "[[" * 2000 + "{{" * 2000 + "\n\nEnd."
    )
    assert text.startswith("Start.")
    assert text.endswith("End.")
    assert "{" not in text
    assert "[[" not in text
