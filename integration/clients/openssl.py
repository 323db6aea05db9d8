"""The openssl command as a judge that knows nothing of the server. Keys are DER, as KMS gives them."""

import pathlib
import subprocess
import tempfile

PKCS1 = ()
PSS = ("-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest")


def _run(command, options=(), **files):
    """Runs a command on files: each is an option of that name and the bytes of the file. Gives its output."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = ["openssl", command, *options]
        for option, data in files.items():
            path = pathlib.Path(directory, option)
            path.write_bytes(data)
            arguments += [f"-{option}", path]
        done = subprocess.run(arguments, capture_output=True)
    if done.returncode != 0:
        raise ValueError(f"openssl {command}: {done.stderr.decode()}")
    return done.stdout


def _raw(digest):
    # Ed25519 has no digest to choose.
    return ("-rawin", "-digest", digest) if digest else ("-rawin",)


def verifies(public, digest, message, signature, padding=PKCS1):
    """Whether the signature is one of the message, with the digest's name or None for Ed25519."""
    try:
        _run("pkeyutl", ("-verify", "-pubin", "-keyform", "DER", *_raw(digest), *padding),
             inkey=public, sigfile=signature, **{"in": message})
    except ValueError:
        return False
    return True


def sign(private, digest, message):
    """Signs with a PKCS #8 key."""
    return _run("pkeyutl", ("-sign", "-keyform", "DER", *_raw(digest)), inkey=private, **{"in": message})


def encrypt(public, digest, plaintext):
    """RSAES-OAEP with that digest, also in MGF1."""
    options = ("-encrypt", "-pubin", "-keyform", "DER", "-pkeyopt", "rsa_padding_mode:oaep",
               "-pkeyopt", f"rsa_oaep_md:{digest}", "-pkeyopt", f"rsa_mgf1_md:{digest}")
    return _run("pkeyutl", options, inkey=public, **{"in": plaintext})


def make_pair(curve):
    """A private key (PEM) and its public key."""
    private = _run("genpkey", ("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}"))
    return private, _run("pkey", ("-pubout", "-outform", "DER"), **{"in": private})


def derive(private, public):
    """The ECDH shared secret of a private key (PEM) with a public key."""
    return _run("pkeyutl", ("-derive", "-peerform", "DER"), inkey=private, peerkey=public)


def make_key(algorithm, *options):
    """A private key as PKCS #8 and its public key, both DER."""
    chosen = [word for option in options for word in ("-pkeyopt", option)]
    private = _run("genpkey", ("-algorithm", algorithm, *chosen))
    return (_run("pkcs8", ("-topk8", "-nocrypt", "-outform", "DER"), **{"in": private}),
            _run("pkey", ("-pubout", "-outform", "DER"), **{"in": private}))


def wrap_padded(key, data):
    """AES-256 key wrap with padding (RFC 5649)."""
    return _run("enc", ("-id-aes256-wrap-pad", "-iv", "A65959A6", "-K", key.hex()), **{"in": data})
