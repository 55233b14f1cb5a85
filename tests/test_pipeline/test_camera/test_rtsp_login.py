import pytest

from pipeline.camera.rtsp_login import answer, answered_by_ffmpeg, best, challenges

MD5 = 'Digest realm="cam", nonce="n", qop="auth"'
SHA = 'Digest realm="cam", nonce="n", qop="auth", algorithm=SHA-256'
BASIC = 'Basic realm="cam"'


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_the_standard(algorithm: str, response: str) -> None:
    """RFC 7616, section 3.9.1."""
    [challenge] = challenges(
        [
            f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
            'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
            'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
        ]
    )
    nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"

    text = answer(challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", nonce, 1)

    assert f'response="{response}"' in text
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in text
    assert f'algorithm={algorithm}, qop=auth, nc=00000001, cnonce="{nonce}"' in text


def test_digest_without_quality_of_protection() -> None:
    """RFC 2069, section 2.4, whose published answer was wrong; this one is of its erratum 749."""
    [challenge] = challenges(['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'])

    text = answer(challenge, "Mufasa", "CircleOfLife", "GET", "/dir/index.html", "x", 1)

    assert 'response="1949323746fe6a43ef61f9606e7febea"' in text
    assert "qop" not in text


@pytest.mark.parametrize(
    ("headers", "chosen", "ffmpeg"),
    [
        ([MD5, SHA], "digest SHA-256", False),
        ([SHA, MD5], "digest SHA-256", True),
        ([f"{MD5}, {SHA}"], "digest SHA-256", False),
        ([SHA, BASIC], "digest SHA-256", False),
        ([BASIC], "basic", True),
        ([MD5.replace("auth", "auth-int")], "digest MD5", False),
        (['Digest realm="c", nonce="n", algorithm="SHA-512-256"'], "digest SHA-512-256", False),
        (['Digest realm="c", nonce="n", algorithm=MD5-sess, qop="auth,auth-int"'], "digest MD5-SESS", True),
        (['Digest realm="c", nonce="n", algorithm=SHA3-256'], None, False),
        (['Digest realm="c", nonce="n", algorithm=SHA3-256', BASIC], "basic", False),
        (['Negotiate realm="c"', 'Bearer realm="c"'], None, False),
        (["Negotiate", ""], None, False),
    ],
)
def test_the_strongest_challenge_that_can_be_answered_is_chosen(
    headers: list[str], chosen: str | None, ffmpeg: bool
) -> None:
    """In whatever order and company it stands, in one header or in several; and what FFmpeg would have answered."""
    offered = challenges(headers)
    found = best(offered)

    assert (found and found.name) == chosen
    assert answered_by_ffmpeg(offered) is ffmpeg


def test_commas_and_quotes_in_values_end_no_challenge() -> None:
    """A realm may hold anything."""
    [one] = challenges([r'Digest realm="Front, Door \"1\" a=b, Basic x=y", nonce="n,m=1", qop="auth"'])

    assert one.fields["realm"] == 'Front, Door "1" a=b, Basic x=y'
    assert one.fields["nonce"] == "n,m=1"
