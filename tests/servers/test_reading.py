"""Lists of servers: what is accepted, what is merged, and what is rejected for which reason; never what stands there."""

import pytest

from demesh import limits
from demesh.errors import UsageError
from demesh.servers.reading import HEADER, Merged, Rejected, ServerList, read_list, written
from demesh.servers.server import Server

_HEADER = ",".join(HEADER)


def _own(*rows: str) -> ServerList:
    return read_list("\n".join((_HEADER, *rows)).encode(), "any.csv")


def _reason(text: str, name: str = "stun_v4.csv") -> str:
    (only,) = read_list(text.encode(), name).rejected
    assert only.line == 1
    return only.reason


def test_our_form_is_read_with_the_usual_values_in_place_of_what_is_left_out() -> None:
    found = _own(
        "stun,Stun.Example.NET.,,,,,,", "# a comment", "", 'mqtt,b.example.net,8883,tls,6,u,b.login,"ours, too"'
    )
    assert found.rejected == ()
    assert found.servers == (
        Server("stun", "stun.example.net", 3478, "udp", line=2),
        Server("mqtt", "b.example.net", 8883, "tls", "6", "u", "b.login", "ours, too", line=5),
    )


def test_what_is_written_is_read_back_as_the_same() -> None:
    servers = _own("stun,stun.example.net,19302,tcp,4,,,by its operator", "ntp,2001:4860:4806::,123,udp,6,,,").servers
    assert [each.key for each in read_list(written(servers).encode(), "x").servers] == [each.key for each in servers]


def test_type_and_family_of_the_other_form_come_from_the_files_name() -> None:
    found = read_list(b"0,3478,stun.example.net\n8.8.8.8,3478\n,19302,stun.example.org", "stun_v4.csv")
    assert [each.key for each in found.servers] == [
        ("stun", "4", "udp", "stun.example.net", 3478),
        ("stun", "4", "udp", "8.8.8.8", 3478),
        ("stun", "4", "udp", "stun.example.org", 19302),
    ]
    assert read_list(b"0,123,ntp.example.net", "list.csv", "ntp").servers[0].family == ""
    with pytest.raises(UsageError, match="its name tells no type"):
        read_list(b"0,123,ntp.example.net", "list.csv")


def test_rows_that_mean_the_same_server_are_merged() -> None:
    found = read_list(b"0,3478,a.example.net\n0,3478,A.EXAMPLE.net.\n0,3479,a.example.net", "stun_v6.csv")
    assert found.merged == (Merged(2, 1),)
    assert len(found.servers) == 2
    assert len(_own("stun,b\u00fccher.example.net,1,,,,,", "stun,xn--bcher-kva.example.net,1,,,,,").servers) == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0,3478,stun.example.net\u200b", "U+200B"),
        ("0,3478", "missing"),
        ("0,3478,0", "missing"),
        ("0,0,a.example.net", "between 1 and 65535"),
        ("0,70000,a.example.net", "between 1 and 65535"),
        ("0,\u0663,a.example.net", "no number"),
        ("0,,a.example.net", "port is missing"),
        ("10.0.0.1,3478", "no public"),
        ("127.0.0.1,3478", "no public"),
        ("169.254.1.1,3478", "no public"),
        ("100.64.0.1,3478", "no public"),
        ("2001:4860:4806::,3478", "IPv6 address in a list of IPv4"),
        ("a.example.net,3478", "where an address belongs"),
        ("0,3478,8.8.8.8", "where a name belongs"),
        ("0,3478,a.example.net,me,sesame", "no login"),
        ("a.example.net,sesame,3478", "where an address belongs"),
        ("0,sesame,3478", "missing|no number|number"),
        ("0,443,https://a.example.net/", "URL"),
        ("0,3478,localhost", "no public name"),
        ("0,3478,nas.local", "no public name"),
        ("0,3478,1.2.3", "number"),
        ("0,3478,a..example.net", "looked up"),
        (f"0,3478,{'a.' * 130}net", "looked up|longer"),
        (f"0,3478,{'a' * 64}.net", "looked up"),
        (f"0,3478,{'a' * 1_100}", "longer than"),
        ("0", "1 columns"),
        ("0,1,a.example.net,b,c,d", "6 columns"),
    ],
)
def test_a_row_that_is_no_public_server_is_rejected_with_the_reason(row: str, said: str) -> None:
    import re

    assert any(part in _reason(row) for part in said.split("|")), _reason(row)
    assert not re.search("sesame", _reason(row))


def test_a_web_console_is_no_broker_and_a_login_without_password_is_a_shifted_row() -> None:
    assert "console" in _reason("0,18443,www.example.net", "mqtt_v4.csv")
    assert "shifted" in _reason("8.8.8.8,3478,turn.example.net,sesame", "turn_v4.csv")


def test_a_login_is_kept_apart_and_in_no_text() -> None:
    found = read_list(b"0,3478,turn.example.net,mallory,sesame", "turn_v4.csv")
    (server,) = found.servers
    assert server.login
    assert (server.login.user, server.login.password) == ("mallory", "sesame")
    assert not {"mallory", "sesame"} & set(written(found.servers).replace("\n", ",").split(","))
    assert "sesame" not in repr(found)
    assert "mallory" not in repr(found)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("stun,a.example.net,1", "3 columns"),
        ("smtp,a.example.net,1,,,,,", "no such type"),
        ("stun,a.example.net,1,quic,,,,", "over udp or tcp or tls"),
        ("stun,a.example.net,1,,5,,,", "family"),
        ('stun,a.example.net,1,,,,,"open', "quotes"),
        ("stun,192.168.1.1,1,,,,,", "no public"),
        ("stun,[::1],1,,,,,", "no public"),
        ("stun,8.8.8.8,1,,6,,,", "IPv4 address in a list of IPv6"),
        ("tcp,a.example.net,,,,,,", "port is missing"),
        ("turn,a.example.net,,,,me,,", "no password"),
        ("ntp,a.example.net,,,,,pw,", "no login"),
        ("stun,a.example.net,1,,,,,a\x07b", "control"),
    ],
)
def test_a_bad_row_of_our_form_is_rejected_and_the_others_go_on(row: str, said: str) -> None:
    found = _own(row, "ntp,ntp.example.net,,,,,,")
    assert len(found.servers) == 1
    assert [each.line for each in found.rejected] == [2]
    assert said in found.rejected[0].reason


def test_what_is_no_text_and_what_is_too_much_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SERVER_LIST_ROWS_MAX", 2)
    found = read_list(b"\xff,1,a\n0,1,a.example.net\n0,1,b.example.net\n0,1,c.example.net", "ntp_v4.csv")
    assert found.rejected[0] == Rejected(1, "the row is not UTF-8 text")
    assert [each.line for each in found.rejected] == [1, 3]
    assert len(found.servers) == 1
    assert read_list(b"", "x") == ServerList(())


@pytest.mark.parametrize(
    ("row", "name", "target"),
    [
        ("stun,stun.l.google.com,19302,,4,,,", "stun stun.l.google.com:19302 udp v4", "stun://stun.l.google.com:19302"),
        ("stun,s.example.net,,tcp,,,,", "stun s.example.net:3478 tcp", "stun://s.example.net:3478?transport=tcp"),
        ("turn,t.example.net,,tls,,,,", "turn t.example.net:5349 tls", "turns://t.example.net:5349"),
        ("ntp,2001:4860:4806::,,,6,,,", "ntp 2001:4860:4806:: 123 udp v6", "ntp://[2001:4860:4806::]:123"),
        ("mqtt,m.example.net,,,,,,", "mqtt m.example.net:1883 tcp", "mqtt://m.example.net:1883"),
        ("dns,9.9.9.9,,,,,,", "dns 9.9.9.9:53 udp", "dns://9.9.9.9:53/."),
    ],
)
def test_a_server_has_the_name_and_the_target_of_a_check(row: str, name: str, target: str) -> None:
    (server,) = _own(row).servers
    assert (server.check_name, server.target) == (name, target)


def test_names_of_checks_are_short_enough_and_differ_when_hosts_do() -> None:
    long = "a" * 60 + "."
    found = _own(*(f"stun,{long}{tail}.example.net,,,,,," for tail in "bc")).servers
    names = {each.check_name for each in found}
    assert len(names) == 2
    assert all(len(name) <= limits.NAME_CHARS_MAX and name.endswith(":3478 udp") for name in names)
