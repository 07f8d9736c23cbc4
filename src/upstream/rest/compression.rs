//! Codings of an answer that were not asked for: we ask for none, and some servers send one.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Undoes the coding called `name`.
///
/// # Errors
///
/// A sentence: the coding is unknown or broken, or has more than `size_max` bytes inside.
pub(super) fn decode(name: &str, data: &[u8], size_max: usize) -> Result<Vec<u8>, String> {
    let decoder: Box<dyn Read + '_> = match name {
        "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(data)),
        // What HTTP calls deflate is zlib (RFC 9110 §8.4.1.2); some servers send it bare.
        "deflate" if is_zlib(data) => Box::new(ZlibDecoder::new(data)),
        "deflate" => Box::new(DeflateDecoder::new(data)),
        other => return Err(format!("its answer is coded as {other:?}, which was not asked for")),
    };
    let mut out = Vec::new();
    // One byte more than allowed tells too much from just enough.
    let read = decoder.take(size_max as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| format!("its answer is no {name}: {error}"))?;
    if out.len() > size_max {
        return Err(format!("its answer has more than the {size_max} bytes allowed"));
    }
    Ok(out)
}

/// Whether the two bytes of a zlib header stand there (RFC 1950 §2.2).
fn is_zlib(data: &[u8]) -> bool {
    let [method, flags, ..] = *data else { return false };
    method & 15 == 8 && (u16::from(method) << 8 | u16::from(flags)).is_multiple_of(31)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    #[test]
    fn undoes_what_servers_send_unasked() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"hello").unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"hello").unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(b"hello").unwrap();
        let (zlib, bare) = (zlib.finish().unwrap(), bare.finish().unwrap());
        for (name, data) in [("gzip", &gzip), ("deflate", &zlib), ("deflate", &bare)] {
            assert_eq!(decode(name, data, 5).unwrap(), b"hello", "{name}");
        }
        assert!(decode("gzip", &gzip[..gzip.len() - 4], 5).is_err(), "a cut one");
        assert!(decode("br", b"x", 5).unwrap_err().contains("br"));
    }

    #[test]
    fn a_bomb_is_refused_when_the_bound_is_met() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![0; 20_000_000]).unwrap();
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 100_000);
        let error = decode("gzip", &bomb, 1000).unwrap_err();
        assert!(error.contains("1000 bytes"), "{error}");
    }
}
