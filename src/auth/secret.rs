//! Secrets that nobody set: made once, kept in the data folder for its owner alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::KeyError;
use crate::settings::{Secret, Settings};

/// The file of the secret that signs tokens.
const SIGNING_FILE: &str = "jwt_secret_key";
/// The file of the secret that encrypts upstream credentials.
const ENCRYPTION_FILE: &str = "auth_encryption_secret";
/// Random bytes in a secret: 48 make 64 letters, enough for HS512 (RFC 7518 §3.2).
const RANDOM_SIZE: usize = 48;
/// Less than this in the file is not what we wrote there.
const SECRET_SIZE_MIN: usize = 32;

/// Gives the secret that signs tokens: `JWT_SECRET_KEY`, or the one in the data folder.
///
/// # Errors
///
/// [`KeyError`] if the folder or the file cannot be used.
pub fn signing(settings: &Settings) -> Result<Secret, KeyError> {
    set_or_kept(&settings.auth.secret_key, &settings.storage.data_dir, SIGNING_FILE)
}

/// Gives the secret that encrypts upstream credentials: `AUTH_ENCRYPTION_SECRET`, or the one in
/// the data folder.
///
/// # Errors
///
/// As [`signing`].
pub fn encryption(settings: &Settings) -> Result<Secret, KeyError> {
    set_or_kept(&settings.auth.encryption_secret, &settings.storage.data_dir, ENCRYPTION_FILE)
}

/// Makes the data folder, with access for its owner alone, unless it exists.
///
/// # Errors
///
/// [`KeyError::Folder`] with what the system said.
pub fn make_folder(path: &Path) -> Result<(), KeyError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| KeyError::Folder { path: path.to_owned(), error })
}

fn set_or_kept(set: &Option<Secret>, folder: &Path, name: &str) -> Result<Secret, KeyError> {
    if let Some(secret) = set {
        return Ok(secret.clone());
    }
    make_folder(folder)?;
    let path = folder.join(name);
    let kept = read(&path).and_then(|kept| match kept {
        Some(text) => Ok(text),
        None => make(&path),
    });
    let text = kept.map_err(|error| KeyError::File { path: path.clone(), error })?;
    checked(&text, path)
}

fn checked(text: &str, path: PathBuf) -> Result<Secret, KeyError> {
    let text = text.trim();
    if text.len() < SECRET_SIZE_MIN {
        return Err(KeyError::Damaged { path });
    }
    Ok(Secret::new(text))
}

/// Reads the file; `None` if there is nothing in it or it is not there. A file that may only be
/// read is as good as another.
fn read(path: &Path) -> std::io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Whoever writes holds the lock, so what is read is whole.
    file.lock_shared()?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "others than its owner may read this secret");
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok((!text.trim().is_empty()).then_some(text))
}

/// Writes a new secret, unless someone else did so first: then gives theirs. The lock decides who
/// is first; a process that died while holding it leaves an empty file, which counts as none.
fn make(path: &Path) -> std::io::Result<String> {
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if text.trim().is_empty() {
        text = random()?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // The name must outlast a crash as well as the bytes: tokens are signed with them soon.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    }
    Ok(text)
}

fn random() -> std::io::Result<String> {
    let mut bytes = zeroize::Zeroizing::new([0; RANDOM_SIZE]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice())
        .map_err(|_| std::io::Error::other("the system gave no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn kept(folder: &Path) -> Result<Secret, KeyError> {
        set_or_kept(&None, folder, SIGNING_FILE)
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn makes_a_secret_once_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/data");
        let first = kept(&folder).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!(kept(&folder).unwrap(), first);
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join(SIGNING_FILE)), 0o600);
    }

    #[test]
    fn threads_that_start_at_once_agree_on_one_secret() {
        for _ in 0..20 {
            let root = tempfile::tempdir().unwrap();
            let barrier = std::sync::Barrier::new(4);
            let found: HashSet<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            kept(&root.path().join("data")).unwrap().expose().to_owned()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(found.len(), 1);
        }
    }

    #[test]
    fn fills_a_file_that_a_crash_left_empty_and_refuses_one_that_was_cut() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(SIGNING_FILE);
        std::fs::write(&path, "").unwrap();
        assert_eq!(kept(root.path()).unwrap().expose().len(), 64);
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(kept(root.path()), Err(KeyError::Damaged { .. })));
    }

    #[test]
    fn a_secret_that_was_set_makes_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("data");
        let set = Some(Secret::new("set"));
        assert_eq!(set_or_kept(&set, &folder, SIGNING_FILE).unwrap().expose(), "set");
        assert!(!folder.exists());
    }

    #[test]
    fn two_secrets_differ() {
        let root = tempfile::tempdir().unwrap();
        let signing = kept(root.path()).unwrap();
        assert_ne!(set_or_kept(&None, root.path(), ENCRYPTION_FILE).unwrap(), signing);
    }
}
