"""Makes a certificate for localhost, and asks a server that has it.

Usage: tls.py make CERTIFICATE KEY
       tls.py get URL CERTIFICATE   (prints the TLS version, the status and the body; waits up to
                                     30 seconds for the server to accept)
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


def get(url: str, certificate: str) -> None:
    place = urlsplit(url)
    context = ssl.create_default_context(cafile=certificate)
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


{"make": make, "get": get}[sys.argv[1]](*sys.argv[2:])
