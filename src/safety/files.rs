//! Whether files can be read by those whom they are not for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Fault, Weight};
use crate::settings::Settings;

/// The rights of everybody but the owner, those of them to write, and those of everybody but the
/// owner and the group.
const OTHERS: u32 = 0o077;
const WRITING_OTHERS: u32 = 0o022;
const EVERYBODY: u32 = 0o007;

/// How many files of the data folder are looked at.
const FILE_COUNT_MAX: usize = 1000;

/// Finds files of the data folder that others than its owner may read, and a folder into which others
/// may put theirs.
pub fn data_folder(settings: &Settings) -> Option<Fault> {
    let folder = &settings.storage.data_dir;
    let is_open = |path: &Path, bits| mode(path).is_some_and(|mode| mode & bits != 0);
    // Who cannot enter the folder cannot read what is in it.
    if !is_open(folder, OTHERS) {
        return None;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(FILE_COUNT_MAX);
    let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let count = files.filter(|path| is_open(path, OTHERS)).count();
    let path = folder.display();
    let sentence = match count {
        0 if !is_open(folder, WRITING_OTHERS) => return None,
        0 => format!("Others than its owner may write into the data folder {path}"),
        1 => format!("Others than its owner may use a file of the data folder {path}"),
        _ => format!("Others than its owner may use {count} files of the data folder {path}"),
    };
    Some(Fault { sentence, mend: format!("Run chmod -R go= {path}"), weight: Weight::Minor })
}

/// Finds private keys, and a `.env`, that everybody may read.
pub fn keys(settings: &Settings) -> Option<Fault> {
    let files = [settings.listen.key_file.clone(), settings.auth.private_key_path.clone()];
    let files = files.into_iter().flatten().chain([PathBuf::from(".env")]);
    let open: Vec<String> = files
        .filter(|path| mode(path).is_some_and(|mode| mode & EVERYBODY != 0))
        .map(|path| path.display().to_string())
        .collect();
    let names = open.join(" ");
    (!open.is_empty()).then(|| Fault {
        sentence: format!("Everybody on this machine may read {}", open.join(", ")),
        mend: format!("Run chmod o= {names}"),
        weight: Weight::Minor,
    })
}

fn mode(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o777)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn settings(overrides: &[(&str, &Path)]) -> Settings {
        let given: Vec<_> =
            overrides.iter().map(|(name, path)| (*name, path.display().to_string())).collect();
        crate::settings::parse("", [], &given).unwrap().settings
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn finds_files_of_the_data_folder_that_are_open_and_a_folder_that_others_write_into() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&[("RINGWAY_DATA_DIR", folder.path())]);
        let secret = folder.path().join("jwt_secret_key");
        fs::write(&secret, "x").unwrap();
        set_mode(&secret, 0o644);
        set_mode(folder.path(), 0o700);
        assert_eq!(data_folder(&settings), None);
        set_mode(folder.path(), 0o750);
        let fault = data_folder(&settings).unwrap();
        assert!(fault.sentence.contains("may use a file of the data folder"), "{fault:?}");
        assert!(fault.mend.starts_with("Run chmod"), "{fault:?}");
        set_mode(&secret, 0o600);
        assert_eq!(data_folder(&settings), None);
        set_mode(folder.path(), 0o770);
        let fault = data_folder(&settings).unwrap();
        assert!(fault.sentence.contains("may write into the data folder"), "{fault:?}");
        assert_eq!(data_folder(&self::settings(&[("RINGWAY_DATA_DIR", &secret.join("no"))])), None);
    }

    #[test]
    fn finds_keys_that_everybody_may_read_and_lets_a_group_have_them() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        fs::write(&key, "x").unwrap();
        let settings = settings(&[("KEY_FILE", &key), ("CERT_FILE", &key)]);
        set_mode(&key, 0o640);
        assert_eq!(keys(&settings), None);
        set_mode(&key, 0o644);
        let fault = keys(&settings).unwrap();
        assert!(fault.sentence.contains("key.pem"), "{fault:?}");
    }
}
