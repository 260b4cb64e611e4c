import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshd import keygen
from strongroom.errors import CommandError
from strongroom.server.sshkeys import parse_public_key

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDE3jUd0zQFxfK5FOrYl0y4e9JOCMOGPVqbGOQnSx6lF"


def wrapped(*fields: bytes) -> str:
    return base64.b64encode(b"".join(len(field).to_bytes(4, "big") + field for field in fields)).decode()


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_keys_of_ssh_keygen_are_read_as_ssh_keygen_reads_them(tmp_path: Path, kind: str) -> None:
    keygen(tmp_path / "key", kind)
    text = (tmp_path / "key.pub").read_text()
    key = parse_public_key(f"# made today\n\n{text}\n")
    assert text.startswith(key.line)
    assert key.comment == "key"
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[1] == key.fingerprint
    with pytest.raises(CommandError, match="private key"):
        parse_public_key((tmp_path / "key").read_text())


def test_a_comment_cannot_end_the_line_or_be_endless() -> None:
    key = parse_public_key(f"{ED25519} me \t at\x1b home " + "x" * 500)
    assert key.comment.startswith("me at? home xxx") and len(key.comment) == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        ED25519 + "\n" + ED25519,
        'command="sh" ' + ED25519,
        ED25519[:-4],
        ED25519 + "====",
        ED25519.replace("AAAAC3", "AAAAC4"),
        ED25519.replace("ssh-ed25519", "ssh-rsa"),
        "ssh-ed25519 " + wrapped(b"ssh-ed25519", bytes(31)),
        "ssh-ed25519 " + wrapped(b"ssh-ed25519", bytes(32), b""),
        "ssh-ed25519 " + wrapped(b"ssh-rsa", bytes(32)),
        "ssh-rsa " + wrapped(b"ssh-rsa", b"\x03", b"\x01" + bytes(127)),
        "ecdsa-sha2-nistp256 " + wrapped(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + bytes(64)),
        "ssh-dss " + wrapped(b"ssh-dss", b"\x01", b"\x01", b"\x01", b"\x01"),
        "sk-ssh-ed25519@openssh.com " + wrapped(b"sk-ssh-ed25519@openssh.com", bytes(31), b"ssh:"),
        "ssh-ed25519-cert-v01@openssh.com AAAA",
        "ssh-ed25519 é",
        "x" * 20_000,
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        parse_public_key(text)


@given(st.sampled_from(["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp384"]), st.binary(max_size=100))
def test_hostile_blobs_raise_only_our_error(kind: str, blob: bytes) -> None:
    with pytest.raises(CommandError):
        parse_public_key(f"{kind} {base64.b64encode(blob).decode()}")


def test_a_security_keys_key_is_accepted() -> None:
    text = "sk-ssh-ed25519@openssh.com " + wrapped(b"sk-ssh-ed25519@openssh.com", bytes(range(32)), b"ssh:")
    assert parse_public_key(text).kind == "sk-ssh-ed25519@openssh.com"
