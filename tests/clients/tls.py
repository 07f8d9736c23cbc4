"""Makes a certificate for localhost, and asks a server that has it.

Usage: tls.py make CERTIFICATE KEY
       tls.py sign AUTHORITY PERSON... (writes AUTHORITY.pem, and for each PERSON, an address of
                                     mail, PERSON.pem with the key; in the working directory)
       tls.py get URL CERTIFICATE [OWN] (prints the TLS version, the status and the body; waits up
                                     to 30 seconds for the server to accept. OWN is the client's)
"""

import datetime
import http.client
import ssl
import sys
import time
from urllib.parse import urlsplit


def make(certificate: str, key: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    built = x509.CertificateBuilder(name, name, private.public_key(), 1, now - day, now + day)
    signed = built.add_extension(names, critical=False).sign(private, hashes.SHA256())
    with open(certificate, "wb") as file:
        file.write(signed.public_bytes(serialization.Encoding.PEM))
    with open(key, "wb") as file:
        encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        file.write(private.private_bytes(*encoding, serialization.NoEncryption()))


def sign(authority: str, *people: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def save(path: str, *parts: bytes) -> None:
        with open(path, "wb") as file:
            file.write(b"".join(parts))

    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    pem = serialization.Encoding.PEM
    signer, issuer = ec.generate_private_key(ec.SECP256R1()), named(authority)
    root = x509.CertificateBuilder(issuer, issuer, signer.public_key(), 1, now - day, now + day)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    save(f"{authority}.pem", root.sign(signer, hashes.SHA256()).public_bytes(pem))
    for number, person in enumerate(people, 2):
        key = ec.generate_private_key(ec.SECP256R1())
        built = x509.CertificateBuilder(
            issuer, named(f"CN of {person}"), key.public_key(), number, now - day, now + day
        )
        names = x509.SubjectAlternativeName([x509.RFC822Name(person)])
        signed = built.add_extension(names, critical=False).sign(signer, hashes.SHA256())
        private = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        save(f"{person}.pem", signed.public_bytes(pem), private)


def get(url: str, certificate: str, own: str | None = None) -> None:
    place = urlsplit(url)
    context = ssl.create_default_context(cafile=certificate)
    if own:
        context.load_cert_chain(own)
    deadline = time.monotonic() + 30
    while True:
        connection = http.client.HTTPSConnection(place.hostname, place.port, context=context, timeout=10)
        try:
            connection.connect()
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    version = connection.sock.version()
    connection.request("GET", place.path)
    answer = connection.getresponse()
    print(version, answer.status, answer.read().decode())


{"make": make, "sign": sign, "get": get}[sys.argv[1]](*sys.argv[2:])
